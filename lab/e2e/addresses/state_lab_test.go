//go:build lab

package addresses

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// state is what the leader's plugin says of itself, as far as the tests read it.
type state struct {
	Shares []struct {
		Subnet string `json:"subnet"`
		Space  string `json:"space"`
		Rest   string `json:"rest"`
	} `json:"shares"`
	Leases []lease `json:"leases"`
	Engine struct {
		Took string `json:"took"` // to say what the Swarm holds
	} `json:"engine"`
}

// lease is one of the leader's plugin's.
type lease struct {
	Address string     `json:"address"`
	State   string     `json:"state"`
	Why     string     `json:"why"`
	Until   *time.Time `json:"until"`
	Freed   *time.Time `json:"freed"`
}

func (o *office) state() (s state, err error) {
	leader, err := o.leads(o.Context())
	if err != nil {
		return s, err
	}
	socket, err := o.lab.Path(leader, contract.StateRoot+"/ipam/ipam.sock")
	if err != nil {
		return s, err
	}
	resp, err := over(socket).Get("http://plugin/debug/state")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

func (o *office) leases() (map[string]lease, error) {
	s, err := o.state()
	all := map[string]lease{}
	for _, l := range s.Leases {
		all[l.Address] = l
	}
	return all, err
}

func over(socket string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

// call is one of the engine's, sent to the leader's plugin in its place.
func (o *office) call(name string, body any) string {
	o.Helper()
	id := strings.TrimSpace(o.docker("plugin", "inspect", "--format", "{{.ID}}", contract.PluginIPAM))
	path, err := o.lab.Path(o.leader(), "/run/docker/plugins/"+id)
	if err != nil {
		o.Fatal(err)
	}
	folder, err := os.Open(path)
	if err != nil {
		o.Fatal(err)
	}
	defer folder.Close()                                             //nolint:errcheck // read only
	socket := fmt.Sprintf("/proc/self/fd/%d/ipam.sock", folder.Fd()) // its own path is longer than a socket's may be
	text, err := json.Marshal(body)
	if err != nil {
		o.Fatal(err)
	}
	resp, err := over(socket).Post("http://plugin/IpamDriver."+name, "application/json", bytes.NewReader(text))
	if err != nil {
		o.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		o.Fatalf("%s: %s %v: %s", name, resp.Status, err, answer)
	}
	return string(answer)
}

// rolling is the command line of the manager, which is bound to the first node.
func (o *office) rolling(args ...string) (string, error) {
	socket, err := o.lab.Path(o.lab.Managers()[0], contract.StateRoot+"/manager/rolling.sock")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(o.Context(), filepath.Join(o.world.Root, "build/bin/rolling"), append([]string{"--server", "unix://" + socket}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("rolling %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}
