package project

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// MaxStop is the longest that a task may take to end: drain and grace together. Swarm's stop-first waits 60 s
// for the old task and sends the stop signal only 3.3 s after its decision; past that old and new run side by side.
const MaxStop = 55 * time.Second

// stackNamespace is the label that docker stack groups objects by; Rolling sets it.
const stackNamespace = "com.docker.stack.namespace"

var (
	zkPattern      = regexp.MustCompile(`^(/[!-.0-~]+)+:[0-9]{1,5}$`) // what ZooKeeper takes: printable, no empty part
	nginxPattern   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}:[0-9]{1,5}$`)
	probePattern   = regexp.MustCompile(`^[0-9]{1,5}(/[!-~]*)?$`)
	allowedPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(:[0-9]{1,5})?$`)
)

// userLabels are the rolling.* labels that a project file may set, each with what is wrong with a value, or "".
var userLabels = map[string]func(string) string{
	contract.DiscoveryNginx:     endpoint("UPSTREAM:PORT", nginxPattern),
	contract.DiscoveryZooKeeper: serverSet,
	contract.DiscoveryWeight:    weight,
	contract.AllowFrom:          allowed,
	contract.Drain:              drainTime,
	contract.Probe:              probe,
}

func endpoint(want string, pattern *regexp.Regexp) func(string) string {
	return func(s string) string {
		port := s[strings.LastIndexByte(s, ':')+1:]
		if n, _ := strconv.Atoi(port); !pattern.MatchString(s) || n < 1 || n > 65535 {
			return fmt.Sprintf("%q: want %s", s, want)
		}
		return ""
	}
}

func serverSet(s string) string {
	for part := range strings.SplitSeq(s, "/") {
		if part == "." || part == ".." {
			return fmt.Sprintf("%q: ZooKeeper takes no part named %q", s, part)
		}
	}
	if strings.HasPrefix(s, "/zookeeper/") || strings.HasPrefix(s, "/zookeeper:") {
		return fmt.Sprintf("%q: /zookeeper belongs to the server itself", s)
	}
	return endpoint("/PATH:PORT", zkPattern)(s)
}

func weight(s string) string {
	if n, err := strconv.Atoi(s); err != nil || n < 0 || n > 1000 {
		return fmt.Sprintf("%q: want a weight from 0 to 1000", s)
	}
	return ""
}

func allowed(s string) string {
	for item := range strings.SplitSeq(s, ",") {
		if !allowedPattern.MatchString(strings.TrimSpace(item)) {
			return fmt.Sprintf("%q: want projects, each PROJECT or PROJECT:PORT, with commas between", s)
		}
	}
	return ""
}

func drainTime(s string) string {
	if d, err := time.ParseDuration(s); err != nil || d <= 0 || d > MaxStop {
		return fmt.Sprintf(`%q: want a duration such as "20s", at most %s`, s, MaxStop)
	}
	return ""
}

// probe is a port of the container and the path that has to answer before a task counts as healthy.
func probe(s string) string {
	port, _, _ := strings.Cut(s, "/")
	if n, _ := strconv.Atoi(port); !probePattern.MatchString(s) || n < 1 || n > 65535 {
		return fmt.Sprintf("%q: want PORT or PORT/PATH", s)
	}
	return ""
}

// serviceLabel checks one label under deploy.labels. Labels of other tools are theirs.
func serviceLabel(w *walk, at, key, value string) {
	if key == stackNamespace {
		w.say(at, "Rolling sets this label")
	}
	if !strings.HasPrefix(key, contract.Prefix) {
		return
	}
	switch check, ok := userLabels[key]; {
	case ok:
		if text := check(value); text != "" {
			w.say(at, "%s", text)
		}
	case key == contract.DiscoveryNetwork:
		w.refer(at, "networks", value)
	case key == contract.Project:
		// A stack file deployed without the manager carries these two; here they may only agree with x-rolling.
		if !slices.Contains(w.declared["project"], value) {
			w.say(at, "%q: x-rolling.project says otherwise; leave it out", value)
		}
	case key == contract.Environment:
		w.refer(at, "x-rolling.environments", value)
	case slices.Contains(managerLabels(), key):
		w.say(at, "Rolling sets this label")
	default:
		w.say(at, "unknown label%s", meant(key, append(slices.Sorted(maps.Keys(userLabels)), contract.DiscoveryNetwork)))
	}
}

// managerLabels are set by the manager on all that it makes.
func managerLabels() []string {
	return []string{contract.Project, contract.Environment, contract.Service, contract.Release, contract.Commit,
		contract.Rollout, contract.Spec}
}

// containerLabel checks one label under labels: a change of those restarts tasks, so Rolling keeps its own to a few.
func containerLabel(w *walk, at, key, value string) {
	if strings.HasPrefix(key, contract.Prefix) {
		if _, ok := userLabels[key]; ok || key == contract.DiscoveryNetwork {
			w.say(at, "this label belongs under deploy.labels")
			return
		}
		w.say(at, "labels that begin with %s are Rolling's own", contract.Prefix)
	}
}
