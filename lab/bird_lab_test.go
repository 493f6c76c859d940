//go:build lab

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// speakAs makes this test binary, run on a node, a BGP speaker: "SELF NEXTHOP PREFIX…".
const speakAs = "ROLLING_LAB_TEST_SPEAK"

func TestTheRouterLearnsWhatTheManagersAnnounce(t *testing.T) {
	t.Parallel()
	l := Up(t, Options{Managers: 2})
	ctx := t.Context()
	self, err := os.Executable()
	must(t, err)
	must(t, copyFile(l.folder("shared", "speaker"), self))
	must(t, os.Chmod(l.folder("shared", "speaker"), 0o755))
	must(t, l.StartPart(ctx, "bird"))
	speak := func(node string, what ...string) (stop func()) {
		cmd := l.Command(ctx, node, "/lab/speaker")
		cmd.Env = append(cmd.Env, speakAs+"="+l.Address(node).String()+" "+strings.Join(what, " "))
		must(t, cmd.Start())
		return func() { cmd.Cancel(); cmd.Wait() }
	}
	route := func(prefix string, hops ...string) map[netip.Prefix][]netip.Addr {
		want := map[netip.Prefix][]netip.Addr{}
		for _, h := range hops {
			p := netip.MustParsePrefix(prefix)
			want[p] = append(want[p], netip.MustParseAddr(h))
		}
		return want
	}
	learns := func(what string, want map[netip.Prefix][]netip.Addr) {
		t.Helper()
		must(t, l.Eventually(ctx, 60*time.Second, what, func() error {
			got, err := l.Routes(ctx)
			if err == nil && !reflect.DeepEqual(got, want) {
				err = fmt.Errorf("the router has %v, want %v", got, want)
			}
			return err
		}))
	}
	// 192.168.0.0/16 is no address of the containers': a mistake in the Swarm must not take a site's network away.
	stopOne := speak("n1", "10.99.0.21", "10.201.3.7/32", "192.168.0.0/16")
	defer stopOne()
	learns("the first manager's route", route("10.201.3.7/32", "10.99.0.21"))
	stopTwo := speak("n2", "10.99.0.22", "10.201.3.7/32")
	defer stopTwo()
	learns("both managers' next hops", route("10.201.3.7/32", "10.99.0.21", "10.99.0.22"))
	must(t, l.Kill(ctx, "n2"))
	learns("the withdrawal of what has lost its power", route("10.201.3.7/32", "10.99.0.21"))
	out, err := l.Exec(ctx, Router, "ip", "route", "show", "10.201.3.7")
	must(t, err)
	if !strings.Contains(out, "via 10.99.0.21 dev lan proto bird") {
		t.Errorf("the router's kernel has %q", out)
	}
}

// speak announces the prefixes to the router until it is killed.
func speak(what string) error {
	fields := strings.Fields(what)
	self, hop := fields[0], netip.MustParseAddr(fields[1])
	ctx := context.Background()
	s := server.NewBgpServer(server.LoggerOption(slog.New(slog.DiscardHandler), &slog.LevelVar{}))
	go s.Serve()
	if err := s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: contract.ASN, RouterId: self, ListenPort: contract.BGPPort}}); err != nil {
		return err
	}
	for _, p := range fields[2:] {
		prefix, err := bgp.NewIPAddrPrefix(netip.MustParsePrefix(p))
		if err != nil {
			return err
		}
		next, err := bgp.NewPathAttributeNextHop(hop)
		if err != nil {
			return err
		}
		path := &apiutil.Path{Family: bgp.RF_IPv4_UC, Nlri: prefix, Attrs: []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0), next}}
		if _, err := s.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}}); err != nil {
			return err
		}
	}
	err := s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: routerAddr.String(), PeerAsn: contract.ASN},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: 9, KeepaliveInterval: 3, ConnectRetry: 1, IdleHoldTimeAfterReset: 1}},
		Transport: &api.Transport{LocalAddress: self},
	}})
	if err != nil {
		return err
	}
	select {}
}
