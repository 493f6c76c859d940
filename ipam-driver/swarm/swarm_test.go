package swarm

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// engine answers like a 28.5 engine on a socket.
type engine struct {
	pages map[string]string // path and query → body; a missing one is a 500
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.51")
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	if path == "/_ping" {
		return
	}
	if q := r.URL.RawQuery; q != "" {
		path += "?" + q
	}
	body, ok := e.pages[path]
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
		body = fmt.Sprintf(`{"message":"no %s"}`, path)
	}
	_, _ = w.Write([]byte(body))
}

func dial(t *testing.T, e *engine) *Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: e}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	eyes, err := New(path, "rolling/ipam:latest", func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eyes.Close() })
	return eyes
}

const (
	node1    = `{"ID":"id1","Description":{"Hostname":"n1.dc"},"Status":{"State":"ready"},"ManagerStatus":{"Leader":true,"Reachability":"reachable"}}`
	node2    = `{"ID":"id2","Description":{"Hostname":"n2.dc"},"Status":{"State":"down"}}`
	app      = `{"Name":"app","Id":"net1","Scope":"swarm","Driver":"rolling/net:latest","IPAM":{"Driver":"rolling/ipam:latest","Options":{"rolling.project":"orders","com.docker.network.ipam.serial":"true"},"Config":[{"Subnet":"10.201.0.0/24","Gateway":"169.254.1.1"}]}}`
	ranged   = `{"Name":"ranged","Id":"net2","Scope":"swarm","Driver":"overlay","IPAM":{"Driver":"rolling/ipam","Options":null,"Config":[{"Subnet":"10.202.0.0/24","IPRange":"10.202.0.16/28","Gateway":"169.254.1.2"}]}}`
	ingress  = `{"Name":"ingress","Id":"ingress1","Scope":"swarm","Driver":"overlay","IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1"}]}}`
	bridge   = `{"Name":"own","Id":"net3","Scope":"local","Driver":"bridge","IPAM":{"Driver":"rolling/ipam:latest","Options":{},"Config":[{"Subnet":"10.203.0.0/24"}]}}`
	web      = `{"ID":"s1","Spec":{"Name":"orders_web","Labels":{"rolling.environment":"test","com.docker.stack.namespace":"orders"}},"Endpoint":{"VirtualIPs":[{"NetworkID":"net1","Addr":"10.201.0.9/32"},{"NetworkID":"ingress1","Addr":"10.0.0.7/24"}]}}`
	attached = `{"Network":{"ID":"net1","Spec":{"Name":"app"}},"Addresses":["%s/32"]}`
)

func task(id, state, slot, node, attachments string) string {
	return fmt.Sprintf(`{"ID":%q,"ServiceID":"s1","Slot":%s,"NodeID":%q,"DesiredState":"running","Status":{"State":%q,"Timestamp":"2023-11-14T22:13:00Z"},"Spec":{"ContainerSpec":{"Labels":{}}},"NetworksAttachments":[%s]}`, id, slot, node, state, attachments)
}

func at(addr string) string { return fmt.Sprintf(attached, addr) }

func pages() map[string]string {
	gone := `{"Network":{"ID":"gone","Spec":{"Name":"old"},"IPAMOptions":{"Driver":{"Name":"rolling/ipam:latest","Options":{"rolling.project":"old","com.docker.network.ipam.serial":"true"}},"Configs":[{"Subnet":"10.204.0.0/24","Gateway":"169.254.1.4"}]}},"Addresses":["10.204.0.3/32"]}`
	foreign := `{"Network":{"ID":"ingress1","Spec":{"Name":"ingress"},"IPAMOptions":{"Driver":{"Name":"default"},"Configs":[{"Subnet":"10.0.0.0/24"}]}},"Addresses":["10.0.0.8/24"]}`
	return map[string]string{
		"/info":      `{"ID":"x","Swarm":{"NodeID":"id1","ControlAvailable":true}}`,
		"/nodes/id1": node1,
		"/nodes":     "[" + node1 + "," + node2 + "]",
		"/networks":  "[" + app + "," + ranged + "," + ingress + "," + bridge + "]",
		"/services":  "[" + web + "]",
		"/tasks": "[" + strings.Join([]string{
			task("abcdefghijklmnopqrstuvwxy", "running", "2", "id1", at("10.201.0.3")+","+foreign),
			task("bbbbbbbbbbbbbbbbbbbbbbbbb", "running", "1", "id2", gone),
			task("ccccccccccccccccccccccccc", "preparing", "0", "id1", at("10.201.0.4")),
			task("ddddddddddddddddddddddddd", "shutdown", "3", "id1", at("10.201.0.5")),
			task("eeeeeeeeeeeeeeeeeeeeeeeee", "orphaned", "4", "id2", at("10.201.0.6")),
			task("fffffffffffffffffffffffff", "new", "5", "", ""),
		}, ",") + "]",
		"/tasks?filters=%7B%22runtime%22%3A%7B%22attachment%22%3Atrue%7D%7D": `[{"ID":"ggggggggggggggggggggggggg","NodeID":"id1","Status":{"State":"running","Timestamp":"2023-11-14T22:13:00Z"},"Spec":{"NetworkAttachmentSpec":{"ContainerID":"0123456789abcdef0123"}},"NetworksAttachments":[` + at("10.201.0.7") + `]}]`,
		"/containers/json": `[{"Id":"0123456789abcdef0123","Labels":{"com.docker.swarm.service.name":"orders_web"},"NetworkSettings":{"Networks":{"own":{"NetworkID":"net3","IPAddress":"10.203.0.5"},"app":{"NetworkID":"net1","IPAddress":"10.201.0.3"},"bridge":{"NetworkID":"docker0","IPAddress":"172.17.0.2"},"half":{"NetworkID":"net1","IPAddress":""}}}},{"Id":"ffff","NetworkSettings":null}]`,
	}
}

func lines(v pool.View) string {
	var all []string
	for _, n := range v.Networks {
		all = append(all, fmt.Sprintf("network %s gateway %s opaque %v", n.Key, n.Gateway, n.Opaque))
	}
	for _, h := range v.Holdings {
		text := fmt.Sprintf("%s of %s: %s project %q environment %q", h.Addr, h.Key, h.Owner.String(), h.Owner.Project, h.Owner.Environment)
		if !h.Ended.IsZero() {
			text += fmt.Sprintf(" ended %s lost %v", h.Ended.UTC().Format(time.RFC3339), h.Lost)
		}
		all = append(all, text)
	}
	for id, n := range v.Nodes {
		all = append(all, fmt.Sprintf("node %s %+v", id, n))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestTheSwarmsViewHasTasksAttachmentsVirtualIPsAndGateways(t *testing.T) {
	v, err := dial(t, &engine{pages()}).Look(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := `10.201.0.3 of g|10.201.0.0/24|project=orders: task of service orders_web slot 2 abcdefghijkl on node id1 project "orders" environment "test"
10.201.0.4 of g|10.201.0.0/24|project=orders: task of service orders_web slot n1_dc cccccccccccc on node id1 project "orders" environment "test"
10.201.0.5 of g|10.201.0.0/24|project=orders: task of service orders_web slot 3 dddddddddddd on node id1 project "orders" environment "test" ended 2023-11-14T22:13:00Z lost false
10.201.0.6 of g|10.201.0.0/24|project=orders: task of service orders_web slot 4 eeeeeeeeeeee on node id2 project "orders" environment "test" ended 2023-11-14T22:13:00Z lost true
10.201.0.7 of g|10.201.0.0/24|project=orders: attachment 0123456789ab on node id1 project "" environment ""
10.201.0.9 of g|10.201.0.0/24|project=orders: vip of service orders_web project "" environment "test"
10.204.0.3 of g|10.204.0.0/24|project=old: task of service orders_web slot 1 bbbbbbbbbbbb on node id2 project "orders" environment "test"
network g|10.201.0.0/24|project=orders gateway 169.254.1.1 opaque false
network g|10.202.0.0/24|range=10.202.0.16-10.202.0.31 gateway 169.254.1.2 opaque true
node id1 {Name:n1.dc Ready:true}
node id2 {Name:n2.dc Ready:false}`
	if got := lines(v); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if v.Space != pool.Global || v.Began != time.Unix(1_700_000_000, 0) {
		t.Fatalf("space %s began %s", v.Space, v.Began)
	}
}

func TestTheNodesViewHasItsRunningContainers(t *testing.T) {
	v, err := dial(t, &engine{pages()}).Here(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := `10.201.0.3 of l|10.201.0.0/24|project=orders: container of service orders_web 0123456789ab project "" environment ""
10.203.0.5 of l|10.203.0.0/24|: container of service orders_web 0123456789ab project "" environment ""
network l|10.201.0.0/24|project=orders gateway 169.254.1.1 opaque false
network l|10.202.0.0/24|range=10.202.0.16-10.202.0.31 gateway 169.254.1.2 opaque false
network l|10.203.0.0/24| gateway invalid IP opaque false`
	if got := lines(v); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// A view with something missing would free what it does not show.
func TestAQuestionThatFailsMakesTheWholeViewFail(t *testing.T) {
	for path := range pages() {
		if path == "/info" || path == "/nodes/id1" {
			continue
		}
		p := pages()
		delete(p, path)
		eyes := dial(t, &engine{p})
		_, global := eyes.Look(context.Background())
		_, local := eyes.Here(context.Background())
		if global == nil && local == nil {
			t.Errorf("without %s both views are whole", path)
		}
	}
}

func TestWhoLeads(t *testing.T) {
	cases := []struct {
		name   string
		change func(map[string]string)
		leads  bool
		fails  bool
	}{
		{"the leader", func(map[string]string) {}, true, false},
		{"another manager", func(p map[string]string) { p["/nodes/id1"] = strings.Replace(node1, "true", "false", 1) }, false, false},
		{"a worker", func(p map[string]string) {
			p["/info"] = `{"Swarm":{"NodeID":"id1","ControlAvailable":false}}`
			delete(p, "/nodes/id1")
		}, false, false},
		{"no Swarm", func(p map[string]string) { p["/info"] = `{"Swarm":{"NodeID":""}}` }, false, false},
		{"no quorum", func(p map[string]string) { delete(p, "/nodes/id1") }, false, true},
		{"an engine on its way up", func(p map[string]string) { clear(p) }, false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := pages()
			c.change(p)
			leads, err := dial(t, &engine{p}).Leads(context.Background())
			if leads != c.leads || (err != nil) != c.fails {
				t.Fatalf("leads %v, %v", leads, err)
			}
		})
	}
}

func TestAnEngineThatDoesNotAnswerEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path) // accepted by the kernel, answered by nobody: an engine that starts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eyes, err := New("unix://"+path, "rolling/ipam", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := eyes.Leads(ctx); err == nil {
		t.Fatal("it answered")
	}
}

func TestOnlyAManagerIsAskedForWhatIsSettled(t *testing.T) {
	const at = "/configs?filters=%7B%22name%22%3A%7B%22rolling.ipam.%22%3Atrue%7D%7D"
	p := pages()
	p[at] = `[{"ID":"c1","Spec":{"Name":"rolling.ipam.12","Data":"e30="}},{"ID":"c2","Spec":{"Name":"rolling.ipam.x","Data":"e30="}}]`
	all, here, err := dial(t, &engine{p}).Settled(context.Background())
	if err != nil || !here || len(all) != 1 || all[0].Number != 12 || string(all[0].Text) != "{}" {
		t.Errorf("%+v %v %v", all, here, err)
	}
	delete(p, at)
	if _, _, err := dial(t, &engine{p}).Settled(context.Background()); err == nil {
		t.Error("a failed question is no empty answer")
	}
	p["/info"] = `{"Swarm":{"NodeID":"id1","ControlAvailable":false}}`
	if all, here, err := dial(t, &engine{p}).Settled(context.Background()); err != nil || here || all != nil {
		t.Errorf("a worker: %v %v %v", all, here, err)
	}
}
