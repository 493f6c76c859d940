//go:build lab

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/proof"
)

// asking is a stack of one project: a container on each node, which answers on two ports with its project's name.
const asking = `version: "3.8"
services:
  web:
    image: %[3]s
    command: ["sh", "-c", "mkdir -p /tmp/w; echo %[1]s >/tmp/w/index.html; httpd -h /tmp/w -p 8080; httpd -f -h /tmp/w -p 9090"]
    networks: [app]
    deploy: {mode: global, endpoint_mode: dnsrr, labels: {rolling.project: %[1]s}}
networks:
  app:
    driver: "rolling/net:latest"
    driver_opts: {rolling.project: %[1]s}
    ipam: {driver: "rolling/ipam:latest", config: [{subnet: %[2]s}]}
`

// ward is a project's container on a node.
type ward struct{ node, pid, address string }

// deployed gives the containers of a stack, one a node.
func deployed(t *testing.T, l *lab.Lab, leader, project, subnet string) []ward {
	t.Helper()
	folder, err := l.Path(leader, "/tmp")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, project+".yml"), fmt.Appendf(nil, asking, project, subnet, lab.ShellImage), 0o600); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, leader, "stack", "deploy", "--resolve-image", "never", "-c", "/tmp/"+project+".yml", project)
	t.Cleanup(func() { mustDocker(t, l, leader, "stack", "rm", project) })
	var all []ward
	if err := l.Eventually(t.Context(), 2*time.Minute, project+" runs on every node", func() error {
		all = nil
		for _, node := range l.Nodes() {
			id, err := l.Docker(t.Context(), node, "ps", "-q", "--filter", "name="+project+"_web")
			if err != nil {
				return err
			}
			if id = strings.TrimSpace(id); id == "" || strings.Contains(id, "\n") {
				return fmt.Errorf("%s has containers %q", node, id)
			}
			said, err := l.Docker(t.Context(), node, "inspect", "-f", "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id)
			if err != nil {
				return err
			}
			pid, address, _ := strings.Cut(strings.TrimSpace(said), " ")
			all = append(all, ward{node, pid, address})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// asks is an HTTP question from one container's network to another: the image's own programs cannot resolve even an address.
func asks(t *testing.T, l *lab.Lab, from, to ward, port string, patience int) error {
	t.Helper()
	ask := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && cat <&3`, to.address, port)
	out, err := l.Exec(t.Context(), from.node, "timeout", fmt.Sprint(patience), "nsenter", "-t", from.pid, "-n", "bash", "-c", ask)
	if err == nil && !strings.Contains(out, "200 OK") {
		err = errors.New("an empty answer")
	}
	return err
}

// world is where the command line works.
func world(t *testing.T, l *lab.Lab) *proof.World {
	t.Helper()
	root, err := lab.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	return &proof.World{Lab: l, Root: root}
}

func TestALabelOpensAProjectToAnotherAndItsRemovalCloses(t *testing.T) {
	l := lab.Shared(t)
	leader, err := l.Leader(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.LoadShell(within(t, time.Minute)), l.StartPart(within(t, time.Minute), "bird")); err != nil {
		t.Fatal(err)
	}
	shop, desk := deployed(t, l, leader, "shop", "10.211.20.0/24"), deployed(t, l, leader, "desk", "10.211.21.0/24")
	label := func(args ...string) time.Time {
		mustDocker(t, l, leader, append(append([]string{"service", "update", "--detach"}, args...), "shop_web")...)
		return time.Now()
	}
	open := func(what, port string, from, to ward) {
		t.Helper()
		if err := l.Eventually(t.Context(), 30*time.Second, what, func() error { return asks(t, l, from, to, port, 3) }); err != nil {
			t.Error(err)
		}
	}
	shut := func(what, port string, from, to ward) {
		t.Helper()
		if err := l.Eventually(t.Context(), 30*time.Second, what, func() error {
			if asks(t, l, from, to, port, 1) == nil {
				return fmt.Errorf("%s is answered by %s port %s", from.node, to.node, port)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	other := func(i int) int { return (i + 1) % len(shop) }
	for i := range shop {
		open("within the project", "8080", shop[i], shop[other(i)])
		shut("without a label, same node", "8080", desk[i], shop[i])
		shut("without a label, another node", "8080", desk[i], shop[other(i)])
	}
	if err := l.Eventually(t.Context(), 30*time.Second, "the company's other networks", func() error {
		_, err := l.Exec(t.Context(), lab.Router, "curl", "-sf", "-m", "5", "http://"+shop[0].address+":8080/")
		return err
	}); err != nil {
		t.Error(err)
	}

	says := func(what string, code int, from, to string, words ...string) {
		t.Helper()
		if err := l.Eventually(t.Context(), time.Minute, what, func() error {
			got, said, err := world(t, l).Rolling(t.Context(), "doctor", "--from", from, "--to", to)
			if err == nil && got != code {
				err = fmt.Errorf("exit code %d, want %d", got, code)
			}
			if err == nil {
				err = contains(said, words)
			}
			if err != nil {
				err = fmt.Errorf("%w: %s", err, said)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	says("the doctor names what opens it", 1, "desk_web", shop[1].address+":8080", "may not connect to "+shop[1].address+" (shop/", "isolation of project shop",
		`add "desk:8080" to the label rolling.allow-from of shop_web`, shop[1].node+" ")
	says("the doctor knows one's own", 0, shop[0].address, "shop_web:9090/udp", "decided by  own project")
	says("the doctor knows the company", 0, "10.99.0.1", "shop_web:8080", "10.99.0.1 (outside)", "ROLLING_OUTSIDE=open")

	at := label("--label-add", "rolling.allow-from=desk:8080")
	for i := range shop {
		open("with the label, same node", "8080", desk[i], shop[i])
		open("with the label, another node", "8080", desk[i], shop[other(i)])
	}
	t.Logf("from the label to the last of six connections: %s", time.Since(at).Round(10*time.Millisecond))
	shut("by the other port", "9090", desk[0], shop[1])
	shut("the other way round", "8080", shop[0], desk[1])
	says("the doctor names the label", 0, "desk_web", "shop_web:8080", "decided by  the label rolling.allow-from of service shop_web", "service shop_web says rolling.allow-from: desk:8080")
	if code, said, err := world(t, l).Rolling(t.Context(), "address", "show", shop[1].address); err != nil || code != 0 || !strings.Contains(said, "desk:8080, by the label rolling.allow-from of shop_web") {
		t.Errorf("address show says %s, %v", said, err)
	}
	if text, err := l.Exec(t.Context(), shop[1].node, "cat", "/var/lib/rolling/net/policy.json"); err != nil || !strings.Contains(text, `"by": "shop_web"`) {
		t.Errorf("the policy on %s is %s, %v", shop[1].node, text, err)
	}

	agentDiesBetweenCopies(t, l, leader, func() { label("--label-rm", "rolling.allow-from") })
	for i := range shop {
		shut("after the label was taken away, same node", "8080", desk[i], shop[i])
		shut("after the label was taken away, another node", "8080", desk[i], shop[other(i)])
	}
	open("within the project, still", "8080", shop[0], shop[1])
}
