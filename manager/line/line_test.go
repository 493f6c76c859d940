package line

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// picture reads "10.0.0.1/32 10.9.0.1 local, …"; - is no next hop.
func picture(node, routes string) Picture {
	p := Picture{Node: node}
	for line := range strings.SplitSeq(routes, ",") {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		r := wire.Route{Prefix: netip.MustParsePrefix(f[0]), Origin: wire.Origin(f[2])}
		if f[1] != "-" {
			r.NextHop = netip.MustParseAddr(f[1])
		}
		if len(f) > 3 {
			r.Project = f[3]
		}
		p.Routes = append(p.Routes, r)
	}
	return p
}

func TestTheNodesPicturesBecomeOne(t *testing.T) {
	const a, b = "10.9.0.1", "10.9.0.2"
	for _, c := range []struct {
		name     string
		pictures []Picture
		want     string
	}{
		{"nobody answers", nil, ""},
		{"every node has heard", []Picture{
			picture("n1", "10.1.0.1/32 "+a+" local orders, 10.1.0.2/32 "+b+" learnt"),
			picture("n2", "10.1.0.2/32 "+b+" local, 10.1.0.1/32 "+a+" learnt"),
		}, "10.1.0.1/32 10.9.0.1 n1 orders []\n10.1.0.2/32 10.9.0.2 n2  []"},
		{"one has not", []Picture{
			picture("n1", "10.1.0.1/32 "+a+" local"), picture("n3", ""), picture("n2", "10.1.0.1/32 "+a+" learnt"),
		}, "10.1.0.1/32 10.9.0.1 n1  [n3]"},
		{"one has heard of another place", []Picture{
			picture("n1", "10.1.0.1/32 "+a+" local"), picture("n2", "10.1.0.1/32 "+b+" learnt"),
		}, "10.1.0.1/32 10.9.0.1 n1  [n2]"},
		{"a node that does not know its own address is known by its neighbours", []Picture{
			picture("n1", "10.1.0.1/32 - local"), picture("n2", "10.1.0.1/32 "+a+" learnt"),
		}, "10.1.0.1/32 10.9.0.1 n1  []"},
		{"an address in two places shows twice, and neither misses it", []Picture{
			picture("n1", "10.1.0.1/32 "+a+" local"), picture("n2", "10.1.0.1/32 "+b+" local"),
		}, "10.1.0.1/32 10.9.0.1 n1  []\n10.1.0.1/32 10.9.0.2 n2  []"},
		{"what nobody announces has no node", []Picture{
			picture("n1", "10.1.0.9/32 10.9.0.9 learnt"), picture("n2", ""),
		}, "10.1.0.9/32 10.9.0.9   [n2]"},
		{"sorted as addresses are", []Picture{
			picture("n1", "10.1.0.10/32 "+a+" local, 10.1.0.9/32 "+a+" local"),
		}, "10.1.0.9/32 10.9.0.1 n1  []\n10.1.0.10/32 10.9.0.1 n1  []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lines []string
			for _, x := range Announcements(c.pictures) {
				lines = append(lines, fmt.Sprintf("%s %s %s %s %v", x.Prefix, x.NextHop, x.Node, x.Project, x.MissingOn))
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestSettingsAreCheckedAllAtOnce(t *testing.T) {
	if err := (Config{Listen: ":7420", Secret: "/s"}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("no line at all: %v", err)
	}
	err := Config{Listen: "7420", Secret: "s"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "ROLLING_LINE_LISTEN") || !strings.Contains(err.Error(), "ROLLING_LINE_SECRET") {
		t.Errorf("got %v", err)
	}
}

func TestASecretThatIsNoneIsRefused(t *testing.T) {
	if _, err := New([]byte("x"), nil); err == nil || !strings.Contains(err.Error(), "rolling line init") {
		t.Errorf("got %v", err)
	}
}
