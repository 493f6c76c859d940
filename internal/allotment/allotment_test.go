package allotment

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const good = `{"version": 1,
 "pools": [{"name": "prod", "prefix": "10.210.0.0/16", "block": 28, "quota": 4096, "why": "the trading floor"}, {"name": "lab", "prefix": "10.99.0.0/24"}],
 "reservations": [
  {"address": "10.210.3.7", "network": "legacy", "why": "a firewall knows it", "by": "ann", "at": "2026-11-24T06:00:00Z"},
  {"address": "10.210.3.8", "project": "orders", "environment": "production", "why": "the exchange dials it"},
  {"address": "10.210.3.9", "owner": "the printer in rack 3", "why": "it cannot be moved"}]}`

func TestAPlanIsReadAndWrittenWithoutLoss(t *testing.T) {
	p, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if p.Pools[0].Block != 28 || p.Pools[0].Quota != 4096 || p.Reservations[0].At != time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC) {
		t.Errorf("%+v", p)
	}
	var whom []string
	for _, r := range p.Reservations {
		whom = append(whom, r.For())
	}
	if got := strings.Join(whom, "|"); got != "network legacy|project orders in production|the printer in rack 3" {
		t.Error(got)
	}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil || !reflect.DeepEqual(again, p.sorted()) {
		t.Fatalf("%+v %v, want %+v", again, err, p)
	}
	if r, ok := p.Reserved(netip.MustParseAddr("10.210.3.8")); !ok || r.Project != "orders" {
		t.Errorf("%+v", r)
	}
}

func TestEmptyPlansAreFine(t *testing.T) {
	for _, text := range []string{`{"version":1}`, `{"version":1,"pools":null,"reservations":[]}`} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	if _, err := (Plan{}).Text(); err != nil {
		t.Error(err)
	}
}

func TestAllProblemsAreToldAtOnceWithTheirPlaces(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", `pools: []`, "it is no JSON"},
		{"half of it", `{"version":1,"pools":[`, "it is no JSON"},
		{"more than one object", `{"version":1} {}`, "something follows"},
		{"a list", `[]`, "want an object"},
		{"no version", `{}`, "version: want a whole number"},
		{"a newer version is refused whole, whatever else is in it", `{"version":2,"zones":[1]}`, "1 problem\n  version: this program knows up to 1: install a newer one"},
		{"nested without end", strings.Repeat(`{"version":`, 50), "nested too deep"},
		{"a key twice", `{"version":1,"version":1}`, "version: stands twice"},
		{"unknown keys with the nearest", `{"version":1,"pool":[]}`, `pool: is not known; did you mean "pools"?`},
		{
			"a bad pool", `{"version":1,"pools":[{"name":"a b","prefix":"10.1.2.0/16","block":40,"quota":"4"},{"prefix":"fd00::/64","name":"x"},{"name":"y","prefix":"127.0.0.0/16"},{"name":"z","prefix":"10.0.0.0/7"},7]}`,
			`8 problems
  pools[0].name: "a b": want 1 to 63 letters, digits, '-', '_' or '.'
  pools[0].prefix: 10.1.2.0/16 has bits set beyond its length: did you mean 10.1.0.0/16?
  pools[0].block: want a whole number from 8 to 32
  pools[0].quota: want a whole number from 1 to 16777216
  pools[1].prefix: "fd00::/64": want an IPv4 prefix as 10.201.0.0/16
  pools[2].prefix: 127.0.0.0/16 overlaps 127.0.0.0/8 (loopback), whose addresses no container can have
  pools[3].prefix: 10.0.0.0/7 is wider than a /8: name the part of it that is yours
  pools[4]: want an object`,
		},
		{
			"pools that contradict each other", `{"version":1,"pools":[{"name":"a","prefix":"10.1.0.0/16"},{"name":"a","prefix":"10.1.3.0/24"}]}`,
			"2 problems\n  pools[1].name: \"a\" is the name of pools[0] too\n  pools[1].prefix: 10.1.3.0/24 overlaps pool a (10.1.0.0/16)",
		},
		{
			"bad reservations", `{"version":1,"reservations":[{"address":"10.1.0.1","owner":"x"},{"address":"10.1.0.1","owner":"x","network":"n","why":"y","at":"noon"},{"address":"::1","environment":"test","why":"\u0007"},{"why":"w","owner":""}]}`,
			`10 problems
  reservations[0].why: "": want a line of 1 to 255 bytes
  reservations[1].at: "noon": want a time as 2026-11-24T06:00:00Z
  reservations[1]: want one of network, project, owner, to say for whom it is kept
  reservations[2].address: "::1": want an IPv4 address as 10.201.3.7
  reservations[2].why: "\a": want a line of 1 to 255 bytes
  reservations[2]: want one of network, project, owner, to say for whom it is kept
  reservations[2].environment: name its project too
  reservations[3].address: "": want an IPv4 address as 10.201.3.7
  reservations[3].owner: "": want a line of 1 to 255 bytes
  reservations[1].address: 10.1.0.1 is reserved by reservations[0] too`,
		},
		{"too long", `{"version":1}` + strings.Repeat(" ", MaxText), "512013 bytes: want 512000 at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if len(p.Pools)+len(p.Reservations) > 0 {
				t.Errorf("a part of it counts: %+v", p)
			}
		})
	}
}

func TestNumbersInNames(t *testing.T) {
	for name, want := range map[string]uint64{"rolling.ipam.1": 1, "rolling.ipam.42": 42, "rolling.ipam.0": 0, "rolling.ipam.01": 0, "rolling.ipam.+1": 0,
		"rolling.ipam.": 0, "rolling.ipam.x": 0, "other.1": 0, "rolling.ipam.99999999999999999999": 0} {
		if n, ok := Number(name); ok != (want > 0) || ok && n != want {
			t.Errorf("%s: %d %v, want %d", name, n, ok, want)
		}
	}
}

func TestTheHighestThatMakesSenseRules(t *testing.T) {
	ok := func(pool string) []byte {
		return []byte(`{"version":1,"pools":[{"name":"` + pool + `","prefix":"10.1.0.0/16"}]}`)
	}
	n, p, bad := Newest([]Copy{{9, ok("nine")}, {11, []byte("{")}, {10, ok("ten")}, {12, ok("a b")}})
	if n != 10 || p.Pools[0].Name != "ten" || len(bad) != 2 || !strings.Contains(bad[0].Error(), "rolling.ipam.12 is refused whole") {
		t.Errorf("%d %+v %v", n, p, bad)
	}
	if n, _, bad := Newest([]Copy{{1, nil}}); n != 0 || len(bad) != 1 {
		t.Errorf("%d %v", n, bad)
	}
	if n, _, bad := Newest(nil); n != 0 || bad != nil {
		t.Errorf("%d %v", n, bad)
	}
}

func TestAPoolThatIsNotThereIsAnsweredWithThoseThatAre(t *testing.T) {
	p, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if pool, err := p.Named("lab"); err != nil || pool.Prefix.String() != "10.99.0.0/24" {
		t.Errorf("%+v %v", pool, err)
	}
	if _, err := p.Named("prd"); err == nil || err.Error() != `pool "prd" is none of lab, prod; did you mean "prod"?` {
		t.Error(err)
	}
	if _, err := (Plan{}).Named("prod"); err == nil || !strings.Contains(err.Error(), "no pool has a name yet") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"version":1,"pools":[{"name":"a","prefix":"10.1.0.0/16","block":null}]}`))
	f.Add([]byte(`{"version":1,"reservations":[{"address":"10.0.0.1","owner":"x","why":"y"},{"address":"10.0.0.1"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		out, err := p.Text()
		if err != nil && len(out) <= MaxText {
			t.Fatalf("%s was read and cannot be written: %v", text, err)
		}
		if again, err := Parse(out); err == nil && !reflect.DeepEqual(again, p.sorted()) {
			t.Fatalf("%+v became %+v", p, again)
		}
	})
}
