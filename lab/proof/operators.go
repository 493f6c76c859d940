package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// Operators are the proofs of what people see of the network and do to it. They need what Ground has left.
func Operators() []Proof {
	return []Proof{
		{40, "rolling route list names the holder of every address", routesAreNamed},
		{41, "rolling doctor finds what is wrong, where, and nothing else", doctorFindsFaults},
		{42, "an address is announced once its container is healthy", announcedWhenHealthy},
		{43, "the Swarm's leader is drained under traffic, and no request fails", leaderDrainsQuietly},
	}
}

// examination is what rolling doctor -o json prints.
type examination struct {
	Wrong    int       `json:"wrong"`
	Findings []finding `json:"findings"`
}

type finding struct {
	Severity string `json:"severity"`
	Check    string `json:"check"`
	Node     string `json:"node"`
	Text     string `json:"text"`
	Remedy   string `json:"remedy"`
}

func (x examination) String() string {
	var lines []string
	for _, f := range x.Findings {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", f.Severity, f.Node, f.Check, f.Text))
	}
	return strings.Join(lines, "\n")
}

// examine runs the doctor, and checks that the exit code says what the answer does.
func (w *World) examine(ctx context.Context) (examination, error) {
	var x examination
	o, err := w.rolling(ctx, "doctor", "-o", "json")
	if err != nil {
		return x, err
	}
	if err := json.Unmarshal([]byte(o.stdout), &x); err != nil {
		return x, fmt.Errorf("rolling doctor: exit code %d: %w: %s%s", o.code, err, o.stdout, o.stderr)
	}
	if want := min(x.Wrong, 1); o.code != want {
		return x, fmt.Errorf("rolling doctor: exit code %d, want %d: %s", o.code, want, x)
	}
	return x, nil
}

// healthy waits until the doctor finds nothing wrong.
func (w *World) healthy(ctx context.Context, within time.Duration) error {
	return eventually(ctx, within, "the doctor finds nothing wrong", func(ctx context.Context) error {
		x, err := w.examine(ctx)
		if err == nil && x.Wrong > 0 {
			err = errors.New(x.String())
		}
		return err
	})
}

// A fault is something broken on one node, and what the doctor has to say of it.
type fault struct {
	name        string
	check, says string
	harm        func(ctx context.Context) error
	mend        func(ctx context.Context) error
}

func (w *World) faults(node string) []fault {
	shell := func(script string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := w.Lab.Exec(ctx, node, "sh", "-ec", script)
			return err
		}
	}
	return []fault{
		{"forwarding is off", "forwarding", "does not forward", shell("echo 0 > /proc/sys/net/ipv4/ip_forward"), shell("echo 1 > /proc/sys/net/ipv4/ip_forward")},
		{"the jump to Docker's chain is gone", "firewall", "policy DROP",
			shell("iptables -P FORWARD DROP; iptables -D FORWARD -j DOCKER-USER"), shell("iptables -I FORWARD -j DOCKER-USER")},
		{"somebody drops all", "firewall", "-A FORWARD -j DROP", shell("iptables -I FORWARD -j DROP"), shell("iptables -D FORWARD -j DROP")},
		{"the uplink is narrower", "mtu", "MTU 1400", shell("ip link set eth0 mtu 1400"), shell("ip link set eth0 mtu 1500")},
		{"a second way in beside a strict source check", "source", "rp_filter=1",
			shell("ip link add up1 type veth peer name up2; ip link set up1 up; ip link set up2 up; ip addr add 192.0.2.1/30 dev up1; ip route add default via 192.0.2.2 dev up1 metric 900; echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter"),
			shell("echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter; ip link del up1")},
		{"a network of the host lies in the pool", "overlap", "10.210.3.240/29",
			shell("ip link add up1 type veth peer name up2; ip link set up1 up; ip addr add 10.210.3.241/29 dev up1"), shell("ip link del up1")},
		{"the plugin hangs", "plugin", "does not answer", shell("kill -STOP $(pidof /network-driver)"), shell("kill -CONT $(pidof /network-driver)")},
		{"the router is away", "bgp", "router " + w.Lab.Address(lab.Router).String(),
			func(ctx context.Context) error { return w.Lab.StopPart(ctx, "bird") }, func(ctx context.Context) error { return w.Lab.StartPart(ctx, "bird") }},
	}
}

func doctorFindsFaults(ctx context.Context, w *World) (string, error) {
	if err := w.healthy(ctx, 30*time.Second); err != nil {
		return "", err
	}
	node := w.Lab.Nodes()[2]
	var told []string
	for _, f := range w.faults(node) {
		took, err := w.found(ctx, f, node)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.name, err)
		}
		told = append(told, fmt.Sprintf("%s %.1f s", f.check, took.Seconds()))
	}
	if err := w.healthy(ctx, time.Minute); err != nil {
		return "", err
	}
	return fmt.Sprintf("nothing wrong; then each fault on %s was found on it, by %s; then nothing wrong again", node, strings.Join(told, ", ")), nil
}

// found breaks something, waits for the finding, and mends it whatever came.
func (w *World) found(ctx context.Context, f fault, node string) (took time.Duration, err error) {
	if err := f.harm(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.mend(context.WithoutCancel(ctx))) }()
	begun := time.Now()
	err = eventually(ctx, 30*time.Second, "the doctor says so", func(ctx context.Context) error {
		x, err := w.examine(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(x.Findings, func(g finding) bool {
			return g.Severity == "wrong" && g.Check == f.check && g.Node == node && strings.Contains(g.Text, f.says) && g.Remedy != ""
		}) {
			return fmt.Errorf("it says: %s", x)
		}
		return nil
	})
	return time.Since(begun), err
}

func routesAreNamed(ctx context.Context, w *World) (string, error) {
	node := w.Lab.Nodes()[1]
	v, err := w.Agree(ctx, 30*time.Second)
	if err != nil {
		return "", err
	}
	var want []string
	for _, c := range v.Containers {
		if c.Node == node {
			want = append(want, c.Engine[0].String()+"/32")
		}
	}
	said := ""
	err = w.Lab.Eventually(ctx, 30*time.Second, "route list names the holders", func() (err error) {
		said, err = routesNamed(ctx, w, node, want)
		return err
	})
	return said, err
}

func routesNamed(ctx context.Context, w *World, node string, want []string) (string, error) {
	o, err := w.ends(ctx, 0, "route", "list", "--node", node, "-o", "json")
	if err != nil {
		return "", err
	}
	var routes []struct {
		Prefix    string    `json:"prefix"`
		NextHop   string    `json:"nextHop"`
		Container string    `json:"container"`
		Since     time.Time `json:"since"`
		MissingOn []string  `json:"missingOn"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &routes); err != nil {
		return "", fmt.Errorf("%w: %s", err, o.stdout)
	}
	var got []string
	for _, r := range routes {
		if !strings.HasPrefix(r.Container, "web.") || r.Since.IsZero() || r.NextHop != w.Lab.Address(node).String() || len(r.MissingOn) > 0 {
			return "", fmt.Errorf("route %+v: want a container web.N, since when, and nobody who misses it", r)
		}
		got = append(got, r.Prefix)
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		return "", fmt.Errorf("routes of %s are %v, its containers have %v", node, got, want)
	}
	return fmt.Sprintf("%s announces %s, each with service, slot, next hop and since when", node, strings.Join(got, " ")), nil
}

func announcedWhenHealthy(ctx context.Context, w *World) (string, error) {
	if err := w.Lab.LoadShell(ctx); err != nil {
		return "", err
	}
	leader, err := w.leader(ctx)
	if err != nil {
		return "", err
	}
	// No label and no stack: it is the plugin and the agent alone.
	for _, args := range [][]string{
		{"network", "create", "--scope", "swarm", "--driver", "rolling/net:latest", "--ipam-driver", "rolling/ipam:latest", "--subnet", "10.214.7.0/24", "--attachable",
			"-o", "rolling.project=ill", "-o", "rolling.environment=test", "-o", "rolling.announce-when=healthy", "ill"},
		{"run", "-d", "--name", "ill", "--network", "ill", "--ip", "10.214.7.9", "--health-cmd", "test -f /ok", "--health-interval", "500ms", "--health-retries", "1", lab.ShellImage, "sleep", "1000000"},
	} {
		if _, err := w.Lab.Docker(ctx, leader, args...); err != nil {
			return "", err
		}
	}
	address := netip.MustParsePrefix("10.214.7.9/32")
	routed := func(ctx context.Context) (bool, error) {
		routes, err := w.Lab.Routes(ctx)
		return len(routes[address]) > 0, err
	}
	// The engine has called it unhealthy by then: nothing more is to come.
	if err := eventually(ctx, 30*time.Second, "the engine finds it unhealthy", w.healthIs(leader, "unhealthy")); err != nil {
		return "", err
	}
	if there, err := routed(ctx); err != nil || there {
		return "", fmt.Errorf("an ill container is announced: %t, %w", there, err)
	}
	if _, err := w.Lab.Docker(ctx, leader, "exec", "ill", "touch", "/ok"); err != nil {
		return "", err
	}
	begun := time.Now()
	if err := eventually(ctx, 30*time.Second, "it is announced", func(ctx context.Context) error {
		there, err := routed(ctx)
		if err == nil && !there {
			err = errors.New("the router has no route to it")
		}
		return err
	}); err != nil {
		return "", err
	}
	took := time.Since(begun)
	if _, err := w.Lab.Docker(ctx, leader, "exec", "ill", "rm", "/ok"); err != nil {
		return "", err
	}
	if err := eventually(ctx, 30*time.Second, "the engine finds it unhealthy again", w.healthIs(leader, "unhealthy")); err != nil {
		return "", err
	}
	if there, err := routed(ctx); err != nil || !there {
		return "", fmt.Errorf("a container that became ill is still announced: %t, %w", there, err)
	}
	for _, args := range [][]string{{"rm", "-f", "ill"}, {"network", "rm", "ill"}} {
		if _, err := w.Lab.Docker(ctx, leader, args...); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("not while it was ill; %.1f s after its check could pass (asked each 0.5 s); still when it was ill again", took.Seconds()), nil
}

func (w *World) healthIs(node, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		got, err := w.Lab.Docker(ctx, node, "inspect", "--format", "{{.State.Health.Status}}", "ill")
		if err == nil && strings.TrimSpace(got) != want {
			err = fmt.Errorf("it is %s", strings.TrimSpace(got))
		}
		return err
	}
}
