package driver

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/ledger"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

func TestTheEngineIsToldWhatThePluginIs(t *testing.T) {
	r := newRig(t)
	if a, _ := r.raw("/Plugin.Activate", nil); fmt.Sprint(a["Implements"]) != "[IpamDriver]" {
		t.Fatalf("activate: %v", a)
	}
	if a := r.call("GetCapabilities", nil); a["RequiresMACAddress"] != false {
		t.Fatalf("capabilities: %v", a)
	}
	if a := r.call("GetDefaultAddressSpaces", nil); a["LocalDefaultAddressSpace"] != localSpace || a["GlobalDefaultAddressSpace"] != globalSpace {
		t.Fatalf("spaces: %v", a)
	}
}

func TestOneNetworkOnALeaderThatIsItsOwnNode(t *testing.T) {
	r := newRig(t)
	made := r.call("RequestPool", map[string]any{"AddressSpace": globalSpace, "Pool": "10.201.0.0/16", "SubPool": "", "V6": false, "Options": map[string]string{"com.docker.network.ipam.serial": "true"}})
	if made["Pool"] != "10.201.0.0/16" || fmt.Sprint(made["Data"]) != "map[com.docker.network.gateway:169.254.1.1/32]" {
		t.Fatalf("pool: %v", made)
	}
	global := made["PoolID"].(string)
	r.gets(global, "", "10.201.0.0/32")
	r.gets(global, "", "10.201.0.1/32")
	here := r.call("RequestPool", map[string]any{"AddressSpace": localSpace, "Pool": "10.201.0.0/16"})
	if fmt.Sprint(here["Data"]) != "map[]" {
		t.Fatalf("the node was offered a gateway: %v", here)
	}
	local := here["PoolID"].(string)
	if local == global {
		t.Fatal("the spaces share a pool id")
	}
	g := r.call("RequestAddress", map[string]any{"PoolID": local, "Address": "169.254.1.1", "Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}})
	if g["Address"] != "169.254.1.1/32" {
		t.Fatalf("gateway: %v", g)
	}
	r.gets(local, "10.201.0.1", "10.201.0.1/32")
	r.release(local, "10.201.0.1")
	r.release(local, "169.254.1.1")
	if a := r.call("ReleasePool", map[string]any{"PoolID": local}); a.err() != "" {
		t.Fatal(a.err())
	}
	if a := r.address(global, "10.201.0.1"); a.err() == "" {
		t.Fatalf("the node's release freed the Swarm's lease: %v", a)
	}
	r.gets(global, "", "10.201.0.2/32")
}

func TestALeaderChangeReplaysEveryLease(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.201.0.0/29", nil)
	r.gets(key, "", "10.201.0.0/32")
	r.gets(key, "", "10.201.0.1/32")
	r.release(key, "10.201.0.1")
	r.call("GetCapabilities", nil)
	if again := r.pool(globalSpace, "10.201.0.0/29", nil); again != key {
		t.Fatalf("pool id %s, was %s", again, key)
	}
	for _, a := range []string{"10.201.0.0", "10.201.0.1", "10.201.0.6"} {
		r.gets(key, a, a+"/32")
		r.gets(key, a, a+"/32")
	}
	r.gets(key, "", "10.201.0.7/32")
}

func TestStrangeCallsAreRefusedWithTheRemedyAndChangeNothing(t *testing.T) {
	request := func(changes map[string]any) map[string]any {
		m := map[string]any{"AddressSpace": globalSpace, "Pool": "10.9.0.0/24", "Options": map[string]string{}}
		for k, v := range changes {
			m[k] = v
		}
		return m
	}
	opt := func(k, v string) map[string]any { return request(map[string]any{"Options": map[string]string{k: v}}) }
	cases := []struct {
		name string
		call string
		body map[string]any
		want []string
	}{
		{"an address of a pool that nobody requested", "RequestAddress", map[string]any{"PoolID": "nonsense"}, []string{`pool "nonsense" is not one of this driver's`}},
		{"a well-formed pool that nobody requested", "RequestAddress", map[string]any{"PoolID": "g|10.77.0.0/16|"}, []string{"was not requested", "try again"}},
		{"a release in a pool that is none", "ReleaseAddress", map[string]any{"PoolID": "nonsense", "Address": "10.1.0.1"}, []string{"not one of this driver's"}},
		{"a foreign address", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "10.99.0.1"}, []string{"10.99.0.1 lies outside", "name one inside"}},
		{"the release of a foreign address", "ReleaseAddress", map[string]any{"PoolID": "KEY", "Address": "10.99.0.1"}, []string{"10.99.0.1 lies outside", "nothing was released"}},
		{"the release of another network's address", "ReleaseAddress", map[string]any{"PoolID": "OTHER", "Address": "10.1.0.0"}, []string{"is leased to pool 10.1.0.0/24", "nothing was released"}},
		{"an address that is none", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "ten"}, []string{`address "ten"`, "want an IPv4 address"}},
		{"an IPv6 address", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "fd00::1"}, []string{"IPv6 addresses are derived"}},
		{"a foreign gateway", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "192.0.2.1", "Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}}, []string{"gateway 192.0.2.1 lies outside", "rolling.gateway"}},
		{"the clouds' metadata address as a gateway", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "169.254.169.254", "Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}}, []string{"metadata"}},
		{"an address in use", "RequestAddress", map[string]any{"PoolID": "KEY", "Address": "10.1.0.0"}, []string{"10.1.0.0 is in use since"}},
		{"an empty subnet", "RequestPool", request(map[string]any{"Pool": ""}), []string{"no subnet", "--subnet"}},
		{"a subnet that is none", "RequestPool", request(map[string]any{"Pool": "10.9.0.0/33"}), []string{`subnet "10.9.0.0/33"`}},
		{"a subnet with host bits", "RequestPool", request(map[string]any{"Pool": "10.9.0.7/24"}), []string{"did you mean 10.9.0.0/24?"}},
		{"a subnet that overlaps another", "RequestPool", request(map[string]any{"Pool": "10.1.0.128/25"}), []string{"10.1.0.128/25 overlaps pool 10.1.0.0/24", "without being equal"}},
		{"a wider subnet around another", "RequestPool", request(map[string]any{"Pool": "10.1.0.0/16"}), []string{"overlaps"}},
		{"an IPv6 pool", "RequestPool", request(map[string]any{"Pool": "fd00::/64", "V6": true}), []string{"IPv6 pool", "without --ipv6", "rolling.ipv6"}},
		{"IPv6 without a pool", "RequestPool", request(map[string]any{"Pool": "", "V6": true}), []string{"without --ipv6"}},
		{"a misspelt option", "RequestPool", opt("rolling.quotta", "4"), []string{`option "rolling.quotta" is not known`, `did you mean "rolling.quota"?`}},
		{"an option far from any", "RequestPool", opt("rolling.xyzzyplugh", "4"), []string{"want one of rolling.pool, rolling.project"}},
		{"a block wider than the subnet", "RequestPool", opt("rolling.block", "20"), []string{`rolling.block="20"`, "from 24"}},
		{"a quota of none", "RequestPool", opt("rolling.quota", "0"), []string{`rolling.quota="0"`, "1 or more"}},
		{"a range outside", "RequestPool", opt("rolling.range", "10.8.0.1-10.8.0.9"), []string{"rolling.range", "inside 10.9.0.0/24"}},
		{"a range backwards", "RequestPool", opt("rolling.range", "10.9.0.9-10.9.0.1"), []string{"rolling.range"}},
		{"an --ip-range outside", "RequestPool", request(map[string]any{"SubPool": "10.8.0.0/28"}), []string{"--ip-range 10.8.0.0/28 is not inside"}},
		{"a resting time that is none", "RequestPool", opt("rolling.quarantine", "soon"), []string{"rolling.quarantine", "as 60s"}},
		{"a router outside", "RequestPool", opt("rolling.gateway", "10.8.0.1"), []string{"rolling.gateway", "inside 10.9.0.0/24"}},
		{"a project that no label can carry", "RequestPool", opt("rolling.project", "a b"), []string{"rolling.project", "letters"}},
		{"an unknown address space", "RequestPool", request(map[string]any{"AddressSpace": "mars"}), []string{`address space "mars"`, globalSpace}},
	}
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/24", nil)
	other := r.pool(globalSpace, "10.1.0.0/24", map[string]string{"rolling.project": "pay"})
	r.gets(key, "", "10.1.0.0/32")
	state := func() string {
		r.driver.mu.Lock()
		defer r.driver.mu.Unlock()
		return fmt.Sprintf("%+v %+v", r.driver.opened.Book.Shares(r.clock()), r.driver.opened.Book.Leases(r.clock()))
	}
	before := state()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			switch c.body["PoolID"] {
			case "KEY":
				c.body["PoolID"] = key
			case "OTHER":
				c.body["PoolID"] = other
			}
			a := r.call(c.call, c.body)
			if err := holds(a.err(), append(c.want, "rolling/ipam: "+c.call+": ")...); err != nil {
				t.Error(err)
			}
			if after := state(); after != before {
				t.Errorf("it changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestReleasesThatFindNothingSucceed(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/24", nil)
	r.gets(key, "", "10.1.0.0/32")
	for _, c := range [][2]string{{"", "fd00:10:201::aca:301"}, {"", ""}, {key, ""}, {key, "10.1.0.7"}, {"g|10.77.0.0/16|", "10.77.0.1"}, {key, "169.254.1.9"}, {key, "10.1.0.0"}, {key, "10.1.0.0"}} {
		if a := r.release(c[0], c[1]); a.err() != "" {
			t.Errorf("release %v: %s", c, a.err())
		}
	}
	for range 3 {
		if a := r.call("ReleasePool", map[string]any{"PoolID": key}); a.err() != "" {
			t.Error(a.err())
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t)
	huge := append([]byte(`{"PoolID":"`), bytes.Repeat([]byte("x"), 1<<20)...)
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"a megabyte":        {append(huge, `"}`...), "larger than 1048576 bytes"},
		"not JSON":          {[]byte("hello"), "not the JSON"},
		"another type":      {[]byte(`{"PoolID":5}`), "not the JSON"},
		"half of an object": {[]byte(`{"PoolID":"g|`), "not the JSON"},
		"two objects":       {[]byte(`{"PoolID":"a"}{"PoolID":"b"}`), "something after"},
	} {
		a, status := r.raw("/IpamDriver.RequestAddress", c.body)
		if status != http.StatusBadRequest || !strings.Contains(a.err(), c.want) {
			t.Errorf("%s: %d %v", name, status, a)
		}
	}
	if a, status := r.raw("/IpamDriver.Nothing", nil); status != http.StatusNotFound || !strings.Contains(a.err(), "not a call") {
		t.Errorf("unknown call: %d %v", status, a)
	}
}

func TestCallsTogetherGetDifferentAddresses(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/24", nil)
	var mu sync.Mutex
	seen := map[string]bool{}
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 8 {
				a := r.address(key, "")
				mu.Lock()
				if s, _ := a["Address"].(string); s == "" || seen[s] {
					t.Errorf("got %v", a)
				} else {
					seen[s] = true
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if a := r.address(key, ""); !strings.Contains(a.err(), "no available addresses: 256 of 256 addresses used") {
		t.Fatal(a)
	}
}

func TestAnAddressThatCannotBeKeptIsNotGiven(t *testing.T) {
	r := newRig(t)
	key := r.pool(globalSpace, "10.1.0.0/30", nil)
	r.gets(key, "", "10.1.0.0/32")
	r.ledger.Break(errors.New("no space left on device"))
	if a := r.address(key, ""); !strings.Contains(a.err(), "no space left on device") {
		t.Fatalf("got %v", a)
	}
	r.pool(globalSpace, "10.1.0.0/30", nil) // a new leader's replay must not be refused
	r.gets(key, "10.1.0.0", "10.1.0.0/32")
	if text, status := r.page("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "no space left") {
		t.Fatalf("readyz %d %s", status, text)
	}
	r.ledger.Break(nil)
	r.gets(key, "", "10.1.0.2/32")
	if text, status := r.page("/readyz"); status != http.StatusOK {
		t.Fatalf("readyz %d %s", status, text)
	}
	book, _, err := pool.Restore(r.clock(), pool.DefaultPolicy(), r.ledger.Records())
	if err != nil {
		t.Fatal(err)
	}
	if got := book.Leases(r.clock()); len(got) != 2 {
		t.Fatalf("the ledger holds %+v", got)
	}
}

// stuck is a disk that does not answer.
type stuck struct {
	*ledger.Memory
	gate chan struct{}
}

func (s *stuck) Add(c pool.Change) func() error {
	wait := s.Memory.Add(c)
	return func() error { <-s.gate; return wait() }
}

func TestNoCallerWaitsForAStuckDisk(t *testing.T) {
	s := &stuck{ledger.NewMemory(), make(chan struct{})}
	r := newRig(t, func(p *Parts) {
		p.Open = func() (Opened, error) { return Opened{Ledger: s, Book: pool.New(pool.DefaultPolicy())}, nil }
	})
	begun := time.Now()
	key := r.pool(globalSpace, "10.1.0.0/30", nil)
	a := r.address(key, "")
	r.gets(key, "10.1.0.2", "10.1.0.2/32")
	if took := time.Since(begun); took > 3*answerWithin {
		t.Errorf("three calls took %s", took)
	}
	if !strings.Contains(a.err(), "the ledger did not answer") {
		t.Errorf("got %v", a)
	}
	close(s.gate)
	r.gets(key, "", "10.1.0.0/32")
}

func TestCallsBeforeTheLedgerIsOpenSayWhy(t *testing.T) {
	var mu sync.Mutex
	fault := error(&ledger.LockedError{Path: "/l", Holder: "process 7 (old)"})
	memory := ledger.NewMemory()
	r := newRig(t, func(p *Parts) {
		p.Open = func() (Opened, error) {
			mu.Lock()
			defer mu.Unlock()
			return Opened{Ledger: memory, Book: pool.New(pool.DefaultPolicy())}, fault
		}
	})
	if a := r.call("GetCapabilities", nil); a.err() != "" {
		t.Fatal(a)
	}
	if a := r.call("RequestPool", map[string]any{"AddressSpace": globalSpace, "Pool": "10.1.0.0/30"}); holds(a.err(), "not ready", "process 7 (old)") != nil {
		t.Fatal(a)
	}
	if text, status := r.page("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "process 7") {
		t.Fatalf("readyz %d %s", status, text)
	}
	if text, status := r.page("/healthz"); status != http.StatusOK {
		t.Fatalf("healthz %d %s", status, text)
	}
	mu.Lock()
	fault = nil
	mu.Unlock()
	r.pool(globalSpace, "10.1.0.0/30", nil)
}

func FuzzDoor(f *testing.F) {
	f.Add("RequestPool", `{"AddressSpace":"rolling.global","Pool":"10.1.0.0/16","SubPool":"10.1.3.0/28","Options":{"rolling.project":"a"}}`)
	f.Add("RequestAddress", `{"PoolID":"g|10.1.0.0/16|","Address":"10.1.0.1","Options":{"RequestAddressType":"com.docker.network.gateway"}}`)
	f.Add("ReleaseAddress", `{"PoolID":"l|10.1.0.0/16|project=a","Address":"::ffff:10.1.0.1"}`)
	f.Add("ReleasePool", `{"PoolID":"g|10.1.0.0/16|block=28&quota=64"}`)
	f.Fuzz(func(t *testing.T, call, body string) {
		d := New(Parts{Aside: func() []string { return nil }, Clock: time.Now, Log: discard()})
		d.begin(Opened{Ledger: ledger.NewMemory(), Book: pool.New(pool.DefaultPolicy())})
		switch call {
		case "RequestPool", "RequestAddress", "ReleaseAddress", "ReleasePool":
		default:
			call = "RequestPool"
		}
		w := &recorder{header: http.Header{}}
		req, err := http.NewRequest(http.MethodPost, "/IpamDriver."+call, strings.NewReader(body))
		if err != nil {
			t.Skip()
		}
		d.Mux().ServeHTTP(w, req)
		if w.status != http.StatusOK && !strings.Contains(w.body.String(), `"Err":"rolling/ipam: `) {
			t.Fatalf("status %d, body %s", w.status, w.body.String())
		}
	})
}
