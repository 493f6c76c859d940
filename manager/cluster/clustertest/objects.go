package clustertest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
)

func (t *Toy) serveNetworks(w http.ResponseWriter, r *http.Request, path []string) error {
	if len(path) == 0 {
		all := []network.Network{{Name: "bridge", ID: "bridge0", Scope: "local", Driver: "bridge"}}
		if strings.Contains(r.URL.Query().Get("filters"), "swarm") {
			all = nil
		}
		for _, n := range t.networks {
			all = append(all, n.shown(t.at))
		}
		answer(w, all)
		return nil
	}
	if path[0] == "create" {
		return t.createNetwork(w, r)
	}
	i := slices.IndexFunc(t.networks, func(n *netw) bool { return n.ID == path[0] || n.Name == path[0] })
	if i < 0 {
		return refuse(http.StatusNotFound, "network %s not found", path[0])
	}
	if r.Method != http.MethodDelete {
		answer(w, network.Inspect{Network: t.networks[i].shown(t.at)})
		return nil
	}
	for _, s := range t.services {
		for _, n := range s.Spec.TaskTemplate.Networks {
			if n.Target == t.networks[i].ID {
				return refuse(http.StatusBadRequest, "rpc error: code = FailedPrecondition desc = network %s is in use by service %s", t.networks[i].ID, s.ID)
			}
		}
	}
	t.networks = slices.Delete(t.networks, i, i+1)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Refusing is a network driver that takes no network.
const Refusing = "refusing"

// allocateAfter is how long after the answer the leader has made a network.
const allocateAfter = 200 * time.Millisecond

func (t *Toy) createNetwork(w http.ResponseWriter, r *http.Request) error {
	var asked network.CreateRequest
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return err
	}
	if slices.ContainsFunc(t.networks, func(n *netw) bool { return n.Name == asked.Name }) {
		return refuse(http.StatusConflict, "network with name %s already exists", asked.Name)
	}
	n := &netw{whole: t.at.Add(allocateAfter), Network: network.Network{Name: asked.Name, ID: t.id("network"), Created: t.at, Scope: asked.Scope, Driver: asked.Driver,
		EnableIPv4: true, Internal: asked.Internal, Attachable: asked.Attachable, Options: asked.Options, Labels: asked.Labels, IPAM: network.IPAM{Driver: "default"}}}
	if asked.IPAM != nil {
		n.IPAM = *asked.IPAM
	}
	// What an engine adds by itself.
	if n.Driver == "overlay" {
		n.Options = map[string]string{"com.docker.network.driver.overlay.vxlanid_list": "4097"}
	}
	if len(n.IPAM.Config) == 0 {
		n.IPAM.Config = []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.0.9.0/24")}}
	}
	if !n.IPAM.Config[0].Gateway.IsValid() {
		n.IPAM.Config[0].Gateway = netip.MustParseAddr("169.254.1.1")
	}
	if n.Driver == Refusing {
		n.whole = t.at.Add(24 * time.Hour)
	}
	t.networks = append(t.networks, n)
	w.WriteHeader(http.StatusCreated)
	answer(w, network.CreateResponse{ID: n.ID})
	return nil
}

// serveObjects is configs and secrets, which differ in their types only.
func serveObjects[T any](t *Toy, w http.ResponseWriter, r *http.Request, path []string, kind string, all *[]T,
	names func(*T) (id, name *string), read func(*T, []byte) error,
) error {
	if len(path) == 0 {
		answer(w, *all)
		return nil
	}
	if path[0] == "create" {
		var raw json.RawMessage
		var made T
		if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
			return err
		}
		if err := read(&made, raw); err != nil {
			return err
		}
		id, name := names(&made)
		for i := range *all {
			if _, has := names(&(*all)[i]); *has == *name {
				return refuse(http.StatusConflict, "rpc error: code = AlreadyExists desc = %s %s already exists", kind, *name)
			}
		}
		*id = t.id(kind)
		*all = append(*all, made)
		w.WriteHeader(http.StatusCreated)
		answer(w, map[string]string{"ID": *id})
		return nil
	}
	i := slices.IndexFunc(*all, func(v T) bool { id, _ := names(&v); return *id == path[0] })
	if i < 0 {
		return refuse(http.StatusNotFound, "%s %s not found", kind, path[0])
	}
	if used := t.user(path[0]); used != "" {
		return refuse(http.StatusBadRequest, "rpc error: code = InvalidArgument desc = %s is in use by the following service: %s", kind, used)
	}
	*all = slices.Delete(*all, i, i+1)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (t *Toy) user(id string) string {
	for _, s := range t.services {
		c := s.Spec.TaskTemplate.ContainerSpec
		if slices.ContainsFunc(c.Configs, func(r *swarm.ConfigReference) bool { return r.ConfigID == id }) ||
			slices.ContainsFunc(c.Secrets, func(r *swarm.SecretReference) bool { return r.SecretID == id }) {
			return s.Spec.Name
		}
	}
	return ""
}
