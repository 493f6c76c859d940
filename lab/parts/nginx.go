package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/agent/nginx/lua"
	"github.com/rolling-swarm/rolling/examples/gateway"
)

// NginxToken is what the agent shows at the door of the part nginx.
const NginxToken = "lab-token"

const nginxPort, nginxDoorPort = "80", "8082"

// nginx is a gateway with the example configuration of our lua module. The host name of a request picks the upstream:
// curl -H 'Host: orders' http://ROUTER/ goes to the members of "orders".
func nginx() Part {
	return Part{
		Name:     "nginx",
		Does:     "nginx + lua on port " + nginxPort + " of the router, the agent's door on " + nginxDoorPort,
		Packages: []string{"nginx", "libnginx-mod-http-lua", "lua-cjson"},
		Within:   20 * time.Second,
		Prepare: func(_ context.Context, s Site) (Program, error) {
			config, err := nginxConfig(s)
			if err != nil {
				return Program{}, err
			}
			for name, text := range map[string]string{"nginx.conf": config, "rolling.lua": lua.Module} {
				if err := os.WriteFile(filepath.Join(s.Folder, name), []byte(text), 0o644); err != nil {
					return Program{}, fmt.Errorf("nginx: %w", err)
				}
			}
			return Program{Path: "sh", Args: []string{"-c", nginxWrapper, "nginx",
				"-e", filepath.Join(s.Folder, "error.log"), "-c", filepath.Join(s.Folder, "nginx.conf"), "-g", "daemon off;"}}, nil
		},
		Ready: nginxAnswers,
	}
}

// nginxWrapper: nginx writes its titles over its environment, so nobody could tell later whose process it is, and its
// workers outlive a master that was killed. In a PID namespace they all end with the wrapper, whose environment stays.
// The first line is what examples/gateway advises: a connection to a machine without power is given up after 3 s at most.
const nginxWrapper = `
echo 2 >/proc/sys/net/ipv4/tcp_retries2
unshare --pid --fork --kill-child nginx "$@" &
u=$!
pass() { kill -$1 $(cat /proc/$u/task/$u/children); }
for s in HUP QUIT TERM; do trap "pass $s" $s; done
while kill -0 $u 2>/dev/null; do wait $u; done`

// nginxConfig fits the example to the lab: our folder, the router's address, any upstream, a token at the door.
func nginxConfig(s Site) (string, error) {
	text := gateway.Config
	for _, c := range []struct{ example, lab string }{
		{"user www-data;", "user root;"},
		{"worker_processes auto;", "worker_processes 2;"},
		{"pid /run/nginx.pid;", "pid " + s.Folder + "/nginx.pid;"},
		{"error_log /var/log/nginx/error.log;", "error_log " + s.Folder + "/error.log;"},
		{"access_log off;", "access_log off;\n" + nginxFolders(s.Folder)},
		{`"/etc/nginx/rolling/?.lua;;"`, `"` + s.Folder + `/?.lua;;"`},
		{"/var/lib/rolling/nginx/upstreams.json", s.Folder + "/upstreams.json"},
		{`-- token = io.open("/etc/nginx/rolling/token"):read("*l"),`, `token = "` + NginxToken + `",`},
		{"listen 80;", "listen " + s.Router.String() + ":" + nginxPort + " default_server;"},
		{`set $rolling_upstream "orders";`, "set $rolling_upstream $host;"},
		{"listen 127.0.0.1:8082;", "listen " + s.Router.String() + ":" + nginxDoorPort + ";"},
	} {
		if strings.Count(text, c.example) != 1 {
			return "", fmt.Errorf("nginx: the example configuration has not exactly one %q", c.example)
		}
		text = strings.Replace(text, c.example, c.lab, 1)
	}
	return text, nil
}

// nginxFolders keeps the part's temporary files in its own folder.
func nginxFolders(folder string) string {
	var b strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "  %s_temp_path %s/tmp-%s;\n", kind, folder, kind)
	}
	return b.String()
}

// NginxDoor is the address that the agent pushes to.
func NginxDoor(s Site) string { return "http://" + s.Router.String() + ":" + nginxDoorPort }

func nginxAnswers(ctx context.Context, s Site) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, NginxDoor(s)+"/upstreams", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+NginxToken)
	client := http.Client{Transport: &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("nginx: its door answers %s", response.Status))
	}
	return errors.Join(err, response.Body.Close())
}
