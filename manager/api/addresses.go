package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// Addresses says all of one address, and ends its rest.
type Addresses interface {
	Address(ctx context.Context, a netip.Addr) (engine.AddressDetail, error)
	FreeAddress(ctx context.Context, a netip.Addr, force bool, by string) error
}

// Reservations keeps addresses for somebody. Warnings say what could not be asked.
type Reservations interface {
	Reservations(ctx context.Context) (all []engine.Reservation, warnings []string, err error)
	Reserve(ctx context.Context, o engine.Reserve) (made []engine.Reservation, warnings []string, err error)
	Unreserve(ctx context.Context, a netip.Addr, by string) (warnings []string, err error)
}

// Detailed is all that is known of an address, with its routes.
type Detailed struct {
	engine.AddressDetail
	Routes []Route `json:"routes,omitempty" doc:"Where the fabric is told that it is."`
}

// ReservationWish asks to keep addresses.
type ReservationWish struct {
	Address string `json:"address,omitempty" doc:"The one to keep." example:"10.210.3.7"`
	Count   int    `json:"count,omitempty" doc:"Or how many to choose, from the end of the pool or network."`
	Pool    string `json:"pool,omitempty" doc:"A named pool, to choose from or to look into."`
	Network string `json:"network,omitempty" doc:"A network, to choose from or to look into; also for whom, unless more is said."`
	For     Whom   `json:"for,omitzero"`
	Why     string `json:"why" doc:"For those who find it." example:"a firewall knows it"`
}

// Whom says for whom an address is kept: one of three.
type Whom struct {
	Network     string `json:"network,omitempty" doc:"A network, by name: docker run --ip."`
	Project     string `json:"project,omitempty" doc:"A project's networks."`
	Environment string `json:"environment,omitempty" doc:"Of the project; absent: all of them."`
	Owner       string `json:"owner,omitempty" doc:"Somebody outside Rolling: no network gets it."`
}

// Freeing says how sure somebody is.
type Freeing struct {
	Force bool `json:"force,omitempty" doc:"The node that held it is certainly dead."`
}

// AddressPath names an address in an address.
type AddressPath struct {
	Address string `path:"address" maxLength:"45" doc:"An IPv4 address." example:"10.210.3.7"`
}

type (
	addressInput struct{ AddressPath }
	freeInput    struct {
		AddressPath
		Body Freeing
	}
	reserveInput struct {
		Repeatable
		DryRun bool `query:"dryRun" doc:"Only say what is wrong, and what would be kept."`
		Body   ReservationWish
	}
	listReservations struct{ Paging }
	addressOutput    struct{ Body Detailed }
	reservationList  struct{ Body List[engine.Reservation] }
)

func (a *API) addressRoutes() {
	const one, reservations = "/api/v1/addresses/{address}", "/api/v1/reservations"
	serve(a, a.operation(http.MethodGet, one, "showAddress", "swarm", http.StatusOK, "Show who has an address, since when, and why it is not free"), a.showAddress)
	serve(a, a.operation(http.MethodPost, one+"/release", "freeAddress", "swarm", http.StatusNoContent, "End the rest of an address"), a.freeAddress)
	serve(a, a.operation(http.MethodGet, reservations, "listReservations", "swarm", http.StatusOK, "List by address what is reserved"), a.listReservations)
	serve(a, a.operation(http.MethodPost, reservations, "reserveAddresses", "swarm", http.StatusCreated, "Keep addresses for somebody"), a.reserve)
	serve(a, a.operation(http.MethodDelete, reservations+"/{address}", "unreserveAddress", "swarm", http.StatusNoContent, "Take a reservation back"), a.unreserve)
}

func (a *API) showAddress(ctx context.Context, in *addressInput) (*addressOutput, error) {
	x, err := readAddress("address", in.Address)
	if err != nil {
		return nil, err
	}
	d, err := a.parts.Addresses.Address(ctx, x)
	if err != nil {
		return nil, err
	}
	out := &addressOutput{Detailed{AddressDetail: d}}
	if a.parts.Routes == nil {
		return out, nil
	}
	all, missing, err := a.parts.Routes.Routes(ctx)
	if err != nil {
		missing = []string{err.Error()}
	}
	for _, r := range all {
		if r.Prefix.Contains(x) {
			out.Body.Routes = append(out.Body.Routes, r)
		}
	}
	for _, m := range missing {
		out.Body.Warnings = append(out.Body.Warnings, "routes: "+m)
	}
	return out, nil
}

func (a *API) freeAddress(ctx context.Context, in *freeInput) (*nothing, error) {
	x, err := readAddress("address", in.Address)
	if err != nil {
		return nil, err
	}
	return nil, a.parts.Addresses.FreeAddress(ctx, x, in.Body.Force, caller(ctx))
}

func (a *API) listReservations(ctx context.Context, in *listReservations) (*reservationList, error) {
	all, warnings, err := a.parts.Reservations.Reservations(ctx)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, func(r engine.Reservation) string { return byNumber(r.Address) })
	list.Warnings = warnings
	return &reservationList{list}, err
}

func (a *API) reserve(ctx context.Context, in *reserveInput) (*reservationList, error) {
	b := in.Body
	o := engine.Reserve{Count: b.Count, Pool: b.Pool, Network: b.Network, DryRun: in.DryRun, Reservation: allotment.Reservation{
		Network: b.For.Network, Project: b.For.Project, Environment: b.For.Environment, Owner: b.For.Owner, Why: b.Why, By: caller(ctx)}}
	if b.Address != "" {
		x, err := readAddress("address", b.Address)
		if err != nil {
			return nil, err
		}
		o.Address = x
	}
	made, warnings, err := a.parts.Reservations.Reserve(ctx, o)
	return &reservationList{List[engine.Reservation]{Items: append([]engine.Reservation{}, made...), Warnings: warnings}}, err
}

func (a *API) unreserve(ctx context.Context, in *addressInput) (*nothing, error) {
	x, err := readAddress("address", in.Address)
	if err != nil {
		return nil, err
	}
	_, err = a.parts.Reservations.Unreserve(ctx, x, caller(ctx))
	return nil, err
}
