package settings

import (
	"errors"
	"strings"
	"testing"
)

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name string
		look func(p *Problems)
		want string
	}{
		{"none", func(p *Problems) {
			p.Sockets("/run/a.sock", "/state/a.sock")
			p.Folder("ROLLING_PROC", "/proc")
			p.Address("ROLLING_METRICS_LISTEN", ":9323", ":1")
			p.Address("ROLLING_METRICS_LISTEN", "", ":1")
		}, ""},
		{"all are told, one a line", func(p *Problems) {
			p.Sockets("a.sock", "/"+strings.Repeat("x", 107))
			p.Folder("ROLLING_PROC", "proc")
			p.Address("ROLLING_METRICS_LISTEN", "9323", ":9323")
			p.Add("ROLLING_KEYS", "%w", errors.Join(errors.New("one"), errors.New("two")))
		}, `settings: 5 problems:
  ROLLING_SOCKET: "a.sock": want an absolute path of at most 107 bytes
  ROLLING_STATE: "/` + strings.Repeat("x", 107) + `": want an absolute path of at most 107 bytes
  ROLLING_PROC: "proc": want an absolute path
  ROLLING_METRICS_LISTEN: address 9323: missing port in address: want host:port, such as :9323
  ROLLING_KEYS: one
  two`},
		{"one socket cannot have two doors", func(p *Problems) { p.Sockets("/a.sock", "/a.sock") }, `settings: 1 problems:
  ROLLING_SOCKET: "/a.sock" is where /metrics is served: choose another folder`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Problems
			c.look(&p)
			got := ""
			if err := p.Err(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
