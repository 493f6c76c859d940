//go:build lab

package arp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

func try(s lan.Space, address string) (took time.Duration, err error) {
	begun := time.Now()
	s.Do(func() error {
		err = Speaker{}.Probe(context.Background(), "eth0", netip.MustParseAddr(address))
		return nil
	})
	return time.Since(begun), err
}

func TestAnAddressInUseIsFoundAndAFreeOneIsFree(t *testing.T) {
	net := lan.NewLAN(t)
	host, other := net.Node("n1", "10.98.0.21/24"), net.Node("n2", "10.98.0.22/24")
	other.Must("ip addr add 10.98.0.77/24 dev eth0")
	took, err := try(host, "10.98.0.77")
	var taken *ConflictError
	if !errors.As(err, &taken) || !strings.Contains(other.Must("ip link show eth0"), taken.MAC.String()) {
		t.Errorf("an address in use: %v after %v", err, took)
	}
	if out := other.Must("ip neigh"); strings.Contains(out, "10.98.0.21") {
		t.Errorf("the question taught a neighbour something: %s", out)
	}
	took, err = try(host, "10.98.0.78")
	if err != nil || took < probes*interval {
		t.Errorf("a free address: %v after %v", err, took)
	}
	t.Logf("a free address is known as such after %v", took)
}

func TestAnAnnouncementCorrectsNeighbours(t *testing.T) {
	net := lan.NewLAN(t)
	host, other := net.Node("n1", "10.98.0.21/24"), net.Node("n2", "10.98.0.22/24")
	other.Must("ip neigh add 10.98.0.77 lladdr 02:00:00:00:00:99 dev eth0 nud stale")
	host.Do(func() error {
		return Speaker{}.Announce("eth0", netip.MustParseAddr("10.98.0.77"), "02:42:0a:62:00:4d")
	})
	lan.Eventually(t, 5*time.Second, "the neighbour knows better", func() error {
		if out := other.Must("ip neigh show to 10.98.0.77"); !strings.Contains(out, "02:42:0a:62:00:4d") {
			return errors.New(out)
		}
		return nil
	})
}

func TestTwoWhoAskAtTheSameTimeBothLetGo(t *testing.T) {
	net := lan.NewLAN(t)
	one, two := net.Node("n1", "10.98.0.21/24"), net.Node("n2", "10.98.0.22/24")
	found := make(chan error, 1)
	go func() {
		_, err := try(two, "10.98.0.77")
		found <- err
	}()
	_, err := try(one, "10.98.0.77")
	if other := <-found; err == nil && other == nil {
		t.Error("both were told that it is free")
	}
}

// What a neighbour hears of a question: three probes of RFC 5227's form within 600 ms, and no word of who asks.
func TestThreeProbesGoOutWithin600Milliseconds(t *testing.T) {
	if probes != 3 || probes*interval > 600*time.Millisecond {
		t.Fatalf("%d probes take %v", probes, probes*interval)
	}
	net := lan.NewLAN(t)
	host, other := net.Node("n1", "10.98.0.21/24"), net.Node("n2", "10.98.0.22/24")
	wanted := netip.MustParseAddr("10.98.0.77")
	var ear *os.File
	other.Do(func() (err error) { ear, _, err = open("eth0"); return err })
	defer ear.Close() //nolint:errcheck // it only listened
	if err := ear.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	heard := make(chan []frame, 1)
	go func() {
		var all []frame
		_ = hear(ear, func(f frame) error {
			if f.target == wanted {
				all = append(all, f)
			}
			if f.sender == wanted && f.target == wanted {
				return errors.New("the announcement is the end")
			}
			return nil
		})
		heard <- all
	}()
	if _, err := try(host, wanted.String()); err != nil {
		t.Fatal(err)
	}
	host.Do(func() error { return Speaker{}.Announce("eth0", wanted, "02:42:0a:62:00:4d") })
	all := <-heard
	if len(all) != 4 {
		t.Fatalf("a neighbour heard %d frames, want three probes and the announcement: %+v", len(all), all)
	}
	for _, f := range all[:3] {
		if f.operation != request || f.sender != netip.IPv4Unspecified() || f.targetMAC.String() != "00:00:00:00:00:00" || f.to.String() != "ff:ff:ff:ff:ff:ff" {
			t.Errorf("a probe is %+v", f)
		}
	}
	if f := all[3]; f.operation != request || f.senderMAC.String() != "02:42:0a:62:00:4d" || f.source.String() != "02:42:0a:62:00:4d" {
		t.Errorf("the announcement is %+v", f)
	}
}
