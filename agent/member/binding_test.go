package member

import (
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func TestBind(t *testing.T) {
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   Binding
	}{
		{"a service without labels asks for nothing", nil, Binding{Project: "web", Environment: "none", Weight: 10}},
		{"a stack names the project", map[string]string{"com.docker.stack.namespace": "orders", "rolling.discovery.nginx": "orders:8080"},
			Binding{Project: "orders", Environment: "none", Upstream: "orders", UpstreamPort: 8080, Weight: 10}},
		{"all labels are read", map[string]string{
			"com.docker.stack.namespace": "orders-production", "rolling.project": "orders", "rolling.environment": "production",
			"rolling.discovery.nginx": "orders:8080", "rolling.discovery.zookeeper": "/service/orders:9090",
			"rolling.discovery.weight": "0", "rolling.discovery.network": "app"},
			Binding{"orders", "production", "orders", 8080, "/service/orders", 9090, 0, "app"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := Bind("web", c.labels)
			if len(problems) > 0 || got != c.want {
				t.Errorf("got %+v %v, want %+v", got, problems, c.want)
			}
		})
	}
}

func TestBindNamesEachMistake(t *testing.T) {
	for _, c := range []struct{ name, label, value, want string }{
		{"no port", contract.DiscoveryNginx, "orders", "there is no port"},
		{"no upstream", contract.DiscoveryNginx, ":8080", "nothing before the port"},
		{"port is a word", contract.DiscoveryNginx, "orders:http", `"http" is not a port`},
		{"port 0", contract.DiscoveryNginx, "orders:0", `"0" is not a port`},
		{"port too large", contract.DiscoveryNginx, "orders:65536", `"65536" is not a port`},
		{"negative port", contract.DiscoveryNginx, "orders:-1", `"-1" is not a port`},
		{"blank in the upstream", contract.DiscoveryNginx, "my orders:80", "letters, digits"},
		{"empty value", contract.DiscoveryNginx, "", "there is no port"},
		{"path without a slash", contract.DiscoveryZooKeeper, "service/orders:80", "begins with a slash"},
		{"path is the root", contract.DiscoveryZooKeeper, "/:80", "empty part"},
		{"path ends in a slash", contract.DiscoveryZooKeeper, "/service/:80", "empty part"},
		{"path with dots", contract.DiscoveryZooKeeper, "/a/../b:80", `".."`},
		{"path of the server", contract.DiscoveryZooKeeper, "/zookeeper/quota:80", "belongs to the server"},
		{"path with a line feed", contract.DiscoveryZooKeeper, "/a\nb:80", "printable ASCII"},
		{"weight is a word", contract.DiscoveryWeight, "heavy", "whole number"},
		{"weight is negative", contract.DiscoveryWeight, "-1", "whole number"},
		{"weight is huge", contract.DiscoveryWeight, "1001", "whole number"},
		{"empty network", contract.DiscoveryNetwork, "", "name of a network"},
		{"misspelt label", "rolling.discovery.ngnix", "orders:80", "did you mean rolling.discovery.nginx?"},
		{"unheard-of label", "rolling.discovery.x", "", "there is no such label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Bind("orders_web", map[string]string{c.label: c.value})
			if len(problems) != 1 {
				t.Fatalf("got %v, want one problem", problems)
			}
			text := problems[0].String()
			for _, part := range []string{"orders_web", c.label, c.want} {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not name %q", text, part)
				}
			}
		})
	}
	_, problems := Bind("web", map[string]string{contract.DiscoveryNginx: "a", contract.DiscoveryWeight: "b", contract.DiscoveryZooKeeper: "c"})
	if len(problems) != 3 {
		t.Errorf("got %d problems, want all three at once: %v", len(problems), problems)
	}
}

func FuzzBind(f *testing.F) {
	for _, v := range []string{"orders:8080", "/service/orders:8080", "", ":", "::", "/:1", "a:99999999999999999999", "/a//b:1", "\x00:1", "[::1]:80"} {
		f.Add(v, v, "10")
	}
	f.Fuzz(func(t *testing.T, upstream, path, weight string) {
		b, problems := Bind("web", map[string]string{
			contract.DiscoveryNginx: upstream, contract.DiscoveryZooKeeper: path, contract.DiscoveryWeight: weight})
		if len(problems) > 0 {
			return
		}
		if b.Upstream == "" || b.UpstreamPort == 0 || b.PathPort == 0 || b.Weight < 0 || b.Weight > MaxWeight {
			t.Errorf("%q %q %q: accepted as %+v", upstream, path, weight, b)
		}
		if !strings.HasPrefix(b.Path, "/") || strings.HasSuffix(b.Path, "/") || strings.Contains(b.Path, "//") || strings.ContainsAny(b.Upstream, "/ \"\\\n") {
			t.Errorf("%q %q: accepted as %+v", upstream, path, b)
		}
	})
}
