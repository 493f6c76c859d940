package pool

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func TestEqualMeaningIsOneKey(t *testing.T) {
	d := newDesk(t)
	cases := []struct {
		name string
		a, b Terms
	}{
		{"a block with and without its stroke", d.terms(Global, "10.1.0.0/16", "", "rolling.block", "28"), d.terms(Global, "10.1.0.0/16", "", "rolling.block", "/28")},
		{"a resting time in two units", d.terms(Global, "10.1.0.0/16", "", "rolling.quarantine", "60s"), d.terms(Global, "10.1.0.0/16", "", "rolling.quarantine", "1m")},
		{"a range as option and as --ip-range", d.terms(Global, "10.1.0.0/16", "", "rolling.range", "10.1.3.0/28"), d.terms(Global, "10.1.0.0/16", "10.1.3.0/28")},
		{"an --ip-range that is the subnet", d.terms(Global, "10.1.0.0/16", ""), d.terms(Global, "10.1.0.0/16", "10.1.0.0/16")},
		{"Swarm's own options", d.terms(Global, "10.1.0.0/16", ""), d.terms(Global, "10.1.0.0/16", "", "RequestAddressType", "x")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.a.Key() != c.b.Key() {
				t.Fatalf("%s and %s", c.a.Key(), c.b.Key())
			}
		})
	}
}

func TestOtherMeaningIsAnotherKey(t *testing.T) {
	d := newDesk(t)
	seen := map[Key]bool{}
	for _, o := range [][]string{
		{}, {"rolling.project", "a"}, {"rolling.environment", "a"}, {"rolling.pool", "a"}, {"rolling.block", "28"}, {"rolling.quota", "28"},
		{"rolling.range", "10.1.0.28"}, {"rolling.quarantine", "28s"}, {"rolling.quarantine", "0s"}, {"rolling.gateway", "10.1.0.28"},
	} {
		k := d.terms(Global, "10.1.0.0/16", "", o...).Key()
		if seen[k] {
			t.Fatalf("%v has the key of another: %s", o, k)
		}
		seen[k] = true
	}
	if seen[d.terms(Local, "10.1.0.0/16", "").Key()] {
		t.Fatal("the spaces share a key")
	}
}

func TestAKeySaysAllThatTheTermsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := map[string]string{}
		for _, o := range []struct {
			key    string
			values []string
		}{
			{contract.Pool, []string{"prod", "dc1.edge"}}, {contract.Project, []string{"orders", "a-b_c.d"}}, {contract.Environment, []string{"test"}},
			{contract.Block, []string{"16", "28", "32"}}, {contract.Quota, []string{"1", "65536"}}, {contract.Range, []string{"10.1.0.5", "10.1.0.5-10.1.255.255"}},
			{contract.Quarantine, []string{"0s", "1h3m0.5s"}}, {contract.Gateway, []string{"10.1.0.1"}},
		} {
			if rapid.Bool().Draw(t, o.key) {
				options[o.key] = rapid.SampledFrom(o.values).Draw(t, "value")
			}
		}
		terms, err := ReadTerms(rapid.SampledFrom([]Space{Global, Local}).Draw(t, "space"), "10.1.0.0/16", "", false, options)
		if err != nil {
			if options[contract.Block] == "" || options[contract.Range] == "" {
				t.Fatal(err)
			}
			return
		}
		got, err := ParseKey(terms.Key())
		if err != nil || got != terms {
			t.Fatalf("%s read as %+v, %v; was %+v", terms.Key(), got, err, terms)
		}
	})
}

func TestASubnetThatNoContainerCanLiveInIsRefused(t *testing.T) {
	for _, c := range []struct{ name, subnet, want string }{
		{"this network", "0.0.0.0/8", "overlaps 0.0.0.0/8 (this network)"},
		{"loopback", "127.5.0.0/16", "overlaps 127.0.0.0/8 (loopback)"},
		{"link-local", "169.254.7.0/24", "overlaps 169.254.0.0/16 (link-local)"},
		{"what contains link-local", "169.0.0.0/8", "overlaps 169.254.0.0/16 (link-local)"},
		{"multicast", "239.1.0.0/16", "overlaps 224.0.0.0/3 (multicast and above)"},
		{"above multicast", "240.0.0.0/8", "overlaps 224.0.0.0/3 (multicast and above)"},
		{"all there is", "0.0.0.0/0", "overlaps 0.0.0.0/8 (this network)"},
		{"much, but none of these", "64.0.0.0/5", "wider than a /8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, space := range []Space{Global, Local} {
				if _, err := ReadTerms(space, c.subnet, "", false, nil); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s space: %v, want %q", space, err, c.want)
				}
			}
		})
	}
	if _, err := ParseKey("g|127.0.0.0/16|"); err != nil {
		t.Errorf("a ledger that has one can no longer be read: %v", err)
	}
	for _, good := range []string{"1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "169.253.0.0/16", "169.255.0.0/16", "223.255.255.0/24"} {
		if _, err := ReadTerms(Global, good, "", false, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"g|10.1.0.0/16|", "l|10.1.0.0/16|block=28&project=a", "g|10.1.0.0/16|range=10.1.0.1-10.1.0.9", "g|10.1.0.0/16|project=a%7Cb", "g||", "x|10.0.0.0/8|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := ParseKey(Key(text))
		if err == nil && string(terms.Key()) != text {
			t.Fatalf("%q is the key of terms whose key is %q", text, terms.Key())
		}
		if err != nil && err.Error() == "" {
			t.Fatal("refused without a word")
		}
	})
}

func FuzzReadTerms(f *testing.F) {
	f.Add("10.1.0.0/16", "10.1.3.0/28", "rolling.project", "a", "rolling.quota", "9")
	f.Add("10.1.0.0/16", "", "rolling.range", "10.1.0.1-10.1.0.5", "rolling.quarantine", "60s")
	f.Add("0.0.0.0/0", "", "rolling.block", "/28", "rolling.gateway", "10.1.0.1")
	f.Add("fd00::/64", "", "rolling.quotta", "x", "other", "y")
	f.Fuzz(func(t *testing.T, subnet, ipRange, k1, v1, k2, v2 string) {
		terms, err := ReadTerms(Global, subnet, ipRange, false, map[string]string{k1: v1, k2: v2})
		if err != nil {
			return
		}
		if !terms.Subnet.Addr().Is4() || !terms.Range.IsZero() && !terms.Subnet.Contains(terms.Range.First) {
			t.Fatalf("%+v", terms)
		}
		if again, err := ParseKey(terms.Key()); err != nil || again != terms {
			t.Fatalf("%+v came back as %+v, %v", terms, again, err)
		}
		b := New(DefaultPolicy())
		g, _, err := b.RequestPool(moment(1), terms)
		if err != nil {
			t.Fatal(err)
		}
		if a, _, err := b.RequestAddress(moment(2), g.Key, zeroAddr()); err == nil && !terms.Subnet.Contains(a.Addr()) {
			t.Fatalf("%s of %+v", a, terms)
		} else if err != nil && !strings.Contains(err.Error(), "no available addresses") {
			t.Fatal(err)
		}
	})
}
