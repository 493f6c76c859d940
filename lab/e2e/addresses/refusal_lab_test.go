//go:build lab

package addresses

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// pluginsRefuse networks when Swarm has already said yes to them: whoever asked hears the plugin's own words, long before
// the 15 s after which it would be given up, and nothing is left. One that they take is there, and can be taken away.
func (o *office) pluginsRefuse() {
	o.eventually(time.Minute, "the manager has its line to the leader's agent", func() error {
		out, err := o.rolling("network", "list")
		if err == nil && strings.Contains(out, "how full they are: ") {
			err = errors.New(out)
		}
		return err
	})
	o.refused("the network plugin refuses it: ", "nodes", "10.99.0.0/24")
	// What only rolling/ipam can know: a pool whose network no manager lists, since it is made at this very moment.
	var got struct{ PoolID string }
	answer := o.call("RequestPool", map[string]string{"AddressSpace": "rolling.global", "Pool": "10.214.0.0/24"})
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.PoolID == "" {
		o.Fatalf("RequestPool: %v %s", err, answer)
	}
	o.refused("the IPAM plugin refuses it: ", "half", "10.214.0.0/25")
	o.call("ReleasePool", got)
	if out, err := o.rolling("network", "create", "half", "--subnet", "10.214.0.0/25"); err != nil {
		o.Fatalf("nothing is in its way any more: %v %s", err, out)
	}
	if out, err := o.rolling("network", "remove", "app"); err == nil || !strings.Contains(err.Error(), "services app use it") {
		o.Errorf("a network in use: %v %s", err, out)
	}
	if out, err := o.rolling("network", "remove", "half"); err != nil {
		o.Errorf("%v %s", err, out)
	}
	o.absent("half")
	if s, err := o.state(); err != nil {
		o.Error(err)
	} else {
		o.Logf("the Swarm says in %s what it holds", s.Engine.Took)
	}
}

func (o *office) refused(words, name, subnet string) {
	o.Helper()
	begun := time.Now()
	out, err := o.rolling("network", "create", name, "--subnet", subnet)
	took := time.Since(begun)
	if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "nothing is left of it") {
		o.Fatalf("after %s: %v: %s", took, err, out)
	}
	o.Logf("refused after %.1f s: %v", took.Seconds(), err)
	if took > 10*time.Second {
		o.Errorf("the refusal was told after %s", took)
	}
	o.absent(name)
}

func (o *office) absent(network string) {
	o.Helper()
	if left := o.docker("network", "ls", "--quiet", "--filter", "name="+network); left != "" {
		o.Errorf("network %s is left", network)
	}
}

// namedAddress is what docker run --ip gets on an attachable network: that address, or a reason. The engine gives up after
// 20 s of its own and names the managers' logs; so the second one runs while other things are tried, and is judged by end.
func (o *office) namedAddress(a string) (end func()) {
	node := o.follower()
	run := func(name string) error {
		_, err := o.lab.Docker(o.Context(), node, "run", "--detach", "--network", "app", "--ip", a, "--name", name, lab.ShellImage, "sleep", "1000000")
		return err
	}
	if err := run("named"); err != nil {
		o.Fatal(err)
	}
	out, err := o.lab.Docker(o.Context(), node, "inspect", "--format", "{{(index .NetworkSettings.Networks \"app\").IPAddress}}", "named")
	if err != nil || strings.TrimSpace(out) != a {
		o.Fatalf("it has %s, %v: want %s", out, err, a)
	}
	second := make(chan error, 1)
	go func() { second <- run("again") }()
	return func() {
		o.Helper()
		if err := <-second; err == nil {
			o.Errorf("%s was given to two containers", a)
		}
		o.eventually(10*time.Second, "the reason is told, and who has it", func() error {
			out, err := o.rolling("address", "show", a)
			if err == nil && !regexp.MustCompile(`(?s)held by .*last refused .*in use since`).MatchString(out) {
				err = errors.New(out)
			}
			return err
		})
		if _, err := o.lab.Docker(o.Context(), node, "rm", "--force", "named", "again"); err != nil {
			o.Error(err)
		}
		o.eventually(20*time.Second, "it says that it rests", func() error {
			out, err := o.rolling("address", "show", a)
			if err == nil && !regexp.MustCompile(`why not now +rests \d+s`).MatchString(out) {
				err = errors.New(out)
			}
			return err
		})
	}
}

// settingIsChanged as a script does it: off, set, on. The agent's hands are tied meanwhile, since it brings the setting back
// as soon as it sees it; it does so once they are free.
func (o *office) settingIsChanged(leader, rest string, meanwhile func()) {
	o.Helper()
	signal := func(name string) {
		o.Helper()
		if out, err := o.lab.Exec(o.Context(), leader, "sh", "-c", "kill -"+name+" $(pidof agent)"); err != nil {
			o.Fatalf("%v %s", err, out)
		}
	}
	signal("STOP")
	defer signal("CONT")
	for _, args := range [][]string{{"disable", "-f", contract.PluginIPAM}, {"set", contract.PluginIPAM, "ROLLING_REST=" + rest}} {
		if _, err := o.lab.Docker(o.Context(), leader, append([]string{"plugin"}, args...)...); err != nil {
			o.Fatal(err)
		}
	}
	meanwhile()
	if _, err := o.lab.Docker(o.Context(), leader, "plugin", "enable", contract.PluginIPAM); err != nil {
		o.Fatal(err)
	}
	o.rests(rest)
}

// rests waits until freed addresses of app rest so long.
func (o *office) rests(want string) {
	o.Helper()
	o.eventually(time.Minute, "addresses rest "+want, func() error {
		s, err := o.state()
		for _, share := range s.Shares {
			if err == nil && share.Subnet == appSubnet && share.Space == "global" && share.Rest != want {
				err = fmt.Errorf("they rest %s", share.Rest)
			}
		}
		if err == nil && len(s.Shares) == 0 {
			err = errors.New("the plugin knows no network")
		}
		return err
	})
}
