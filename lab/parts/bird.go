package parts

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// bird is the data centre's router: BIRD 2 learns the containers' addresses from the Swarm's managers by BGP and
// puts them into the kernel.
func bird() Part {
	return Part{
		Name:     "bird",
		Does:     "BIRD 2, a BGP router that peers with every manager",
		Packages: []string{"bird2"},
		Within:   20 * time.Second,
		Prepare: func(_ context.Context, s Site) (Program, error) {
			file := filepath.Join(s.Folder, "bird.conf")
			if err := os.WriteFile(file, []byte(birdConfig(s)), 0o644); err != nil {
				return Program{}, fmt.Errorf("bird: %w", err)
			}
			return Program{Path: "bird", Args: []string{"-f", "-c", file, "-s", BirdSocket(s.Folder)}}, nil
		},
		Ready: func(ctx context.Context, s Site) error { return birdAnswers(ctx, BirdSocket(s.Folder)) },
	}
}

// BirdSocket is what birdc -s takes.
func BirdSocket(folder string) string { return filepath.Join(folder, "bird.ctl") }

// birdConfig: without the protocol direct the next hops of iBGP do not resolve. BIRD waits to be dialled: the managers dial
// their routers, and two speakers that both dial may bring two sessions up and take both down again. BFD
// is of a single hop only for a neighbour that is `direct`.
func birdConfig(s Site) string {
	var b strings.Builder
	fmt.Fprintf(&b, `log stderr all;
router id %[1]s;
protocol device { }
protocol direct { ipv4; ipv6; interface "lan"; }
protocol bfd { interface "lan" { min rx interval 100 ms; min tx interval 100 ms; multiplier 5; }; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on; }
template bgp manager {
  local %[1]s port 179 as %[2]d;
  hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 5;
  graceful restart on; graceful restart time 30;
  passive on; direct; bfd on;
  ipv4 { import where net ~ [ 10.200.0.0/13+, 0.0.0.0/0{32,32} ]; export none; next hop keep; };
  ipv6 { import where net ~ [ ::/0{104,128} ]; export none; next hop keep; };
}
`, s.Router, contract.ASN)
	for i, m := range s.Managers {
		fmt.Fprintf(&b, "protocol bgp n%d from manager { neighbor %s port %d as %d; }\n", i+1, m, contract.BGPPort, contract.ASN)
	}
	return b.String()
}

// birdAnswers asks for a greeting on the control socket.
func birdAnswers(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // read only
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	greeting := make([]byte, 64)
	n, err := conn.Read(greeting)
	if err != nil {
		return err
	}
	if !bytes.Contains(greeting[:n], []byte("ready")) {
		return fmt.Errorf("bird greets with %q", greeting[:n])
	}
	return nil
}
