package permits

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func sample() Document {
	return Document{
		Projects: []string{"orders", "gateway", "orders"},
		Pools:    []netip.Prefix{netip.MustParsePrefix("10.210.4.0/24"), netip.MustParsePrefix("10.210.3.0/24")},
		Permits: []Permit{
			{From: "payments", To: "orders", Port: 8080, Protocol: TCP, By: "orders_web"},
			{From: "gateway", To: "orders", By: "orders_web"}, {From: Outside, To: "orders", Port: 443},
		},
	}.Seal()
}

func TestATextIsReadAsItWasWritten(t *testing.T) {
	d := sample()
	text, err := d.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("got %+v, %v, want %+v", got, err, d)
	}
	if len(d.Projects) != 2 || d.Projects[0] != "gateway" || d.Permits[0].From != Outside {
		t.Errorf("it is not sorted, or holds something twice: %+v", d)
	}
}

func TestATextThatIsWrongIsRefusedWhole(t *testing.T) {
	text, err := sample().Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"an empty file", "", "unexpected end"},
		{"one that was cut off", string(text[:len(text)/2]), "unexpected end"},
		{"a newer one", `{"version": 2}`, "upgrade"},
		{"one that was edited", strings.Replace(string(text), `"gateway"`, `"gatewax"`, 1), "cut off or edited"},
		{"a name that is none", `{"version": 1, "projects": ["a b"]}`, `"a b" is not a name`},
		{"all of the Internet as a pool", `{"version": 1, "pools": ["0.0.0.0/0"]}`, "not a subnet"},
		{"a protocol without a port", `{"version": 1, "permits": [{"from": "a", "to": "b", "protocol": "tcp"}]}`, "without a port"},
		{"a protocol without ports", `{"version": 1, "permits": [{"from": "a", "to": "b", "port": 1, "protocol": "sctp"}]}`, "want tcp or udp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAPersonsTextNeedsNoRevisionAndNoOrder(t *testing.T) {
	d, err := Parse([]byte(`{"version": 1, "projects": ["orders", "gateway"], "permits": [{"from": "gateway", "to": "orders"}]}`))
	if err != nil || d.Revision == "" || d.Projects[0] != "gateway" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestAllowFrom(t *testing.T) {
	for _, c := range []struct {
		name, label string
		want        []Permit
		problem     string
	}{
		{"whole", "gateway", []Permit{{From: "gateway"}}, ""},
		{"whole, a port, a port of one protocol", "gateway, payments:8080,dns:53/udp", []Permit{{From: "gateway"}, {From: "payments", Port: 8080}, {From: "dns", Port: 53, Protocol: UDP}}, ""},
		{"the company's other networks", "@outside:443/tcp", []Permit{{From: Outside, Port: 443, Protocol: TCP}}, ""},
		{"nobody", "", nil, ""},
		{"what is wrong is said, the rest counts", "gate way,payments:0,x:1/icmp,gateway", []Permit{{From: "gateway"}}, `"gate way" is not a project`},
		{"a port that is none", "a:65536", nil, `"65536" is not a port`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseAllowFrom(c.label, "orders", "orders_web")
			for i := range c.want {
				c.want[i].To, c.want[i].By = "orders", "orders_web"
			}
			if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("got %+v, %v, want %+v, %q", got, err, c.want, c.problem)
			}
		})
	}
}

func TestNumbersAreNeverTheReservedOnes(t *testing.T) {
	if a, b := NumberOf("orders"), NumberOf("payments"); a == b || a < firstNumber || b < firstNumber {
		t.Errorf("got %d and %d", a, b)
	}
}

func FuzzParse(f *testing.F) {
	text, err := sample().Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version": 1, "permits": [{"from": "a", "to": "b", "port": 1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		again, err := d.Text()
		if err != nil {
			t.Fatal(err)
		}
		if o, err := Parse(again); err != nil || !reflect.DeepEqual(o, d) {
			t.Errorf("what was read is not read again: %+v, %v", o, err)
		}
	})
}

func FuzzParseAllowFrom(f *testing.F) {
	f.Add("gateway,payments:8080/tcp")
	f.Fuzz(func(t *testing.T, label string) {
		all, _ := ParseAllowFrom(label, "orders", "s")
		for _, p := range all {
			if err := p.check(); err != nil {
				t.Errorf("%q gave %+v: %v", label, p, err)
			}
		}
	})
}
