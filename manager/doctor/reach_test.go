package doctor_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/doctor"
)

func TestWhoMayReachWhom(t *testing.T) {
	api := doctor.End{Address: netip.MustParseAddr("10.210.4.7"), Owner: "payments/test/api.1", Service: "payments-test_api", Node: "n1"}
	web := doctor.End{Address: netip.MustParseAddr("10.210.3.9"), Owner: "orders/test/web.2", Service: "orders-test_web", Node: "n2"}
	desk := doctor.End{Address: netip.MustParseAddr("10.77.0.3")}
	says := func(rule, service string) wire.Reach {
		s := wire.Reach{Rule: rule, Service: service, Why: "the reason of " + rule}
		s.Allowed = !strings.Contains("no-entry other-port not-trusted not-known", rule)
		s.From.Class.Project, s.To.Class.Project = "payments", "orders"
		s.From.Address, s.To.Address = api.Address, web.Address
		return s
	}
	outside := says("no-entry", "")
	outside.From.Class.Project = ""
	both := func(s wire.Reach) []doctor.View { return []doctor.View{{Node: "n1", Says: s}, {Node: "n2", Says: s}} }
	for _, c := range []struct {
		name             string
		from             doctor.End
		views            []doctor.View
		allowed, certain bool
		decider, remedy  string // words of each; "": no remedy
	}{
		{"the own project", web, both(says("own-project", "")), true, true, "own project", ""},
		{"a label lets in", api, both(says("label", "orders-test_web")), true, true, "allow-from of service orders-test_web", ""},
		{"the operator's default", desk, both(says("operator", ""))[1:], true, true, "ROLLING_OUTSIDE=open", ""},
		{"an open network", api, both(says("open", "")), true, true, "rolling.isolation=open", ""},
		{"a network of no project", api, both(says("no-project", "")), true, true, "belongs to no project", ""},
		{"the company's networks", api, both(says("to-company", ""))[:1], true, true, "no container's address", ""},
		{"no entry", api, both(says("no-entry", "")), false, true, "isolation of project orders", `add "payments:8080" to the label rolling.allow-from of orders-test_web`},
		{"no entry by this port", api, both(says("other-port", "")), false, true, "isolation of project orders", "--label-add rolling.allow-from=…,payments:8080 orders-test_web"},
		{"the company, where the operator keeps it out", desk, both(outside)[1:], false, true, "isolation of project orders", `add "@outside:8080"`},
		{"an unknown project asks", api, both(says("not-trusted", "")), false, true, "not trusted", "node n1 has not told whose 10.210.4.7 is"},
		{"an address of a pool that nobody has", doctor.End{Address: api.Address}, both(says("not-trusted", ""))[1:], false, true, "not trusted", "no container of the Swarm has it"},
		{"an unknown project is asked", api, both(says("not-known", "")), false, true, "not trusted", "node n2 has not told whose 10.210.3.9 is"},
		{"nodes of two minds", api, []doctor.View{{Node: "n1", Says: says("label", "orders-test_web")}, {Node: "n2", Says: says("no-entry", "")}}, false, true, "isolation of project orders", "node n2 denies what others allow"},
		{"one node is silent", api, []doctor.View{{Node: "n1", Silence: "no line"}, {Node: "n2", Says: says("own-project", "")}}, true, false, "own project", ""},
		{"all are silent", api, []doctor.View{{Node: "n1", Silence: "no line"}}, false, false, "nobody", "agents' lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := doctor.CanReach(c.from, web, "8080/tcp", c.views)
			if r.Allowed != c.allowed || r.Certain != c.certain || !strings.Contains(r.Decider, c.decider) || !strings.Contains(r.Remedy, c.remedy) || c.remedy == "" && r.Remedy != "" || r.Why == "" {
				t.Errorf("= %+v", r)
			}
		})
	}
}
