package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// Fields gives a service as flat text, one entry a setting, under names that a person knows from the project file. Two
// services are the same to Rolling exactly if their fields are. Nothing of the spec is left out but what Volatile says,
// so a field that a newer Swarm adds is compared too. networkName turns the id of an attachment into the network's name.
func Fields(s swarm.ServiceSpec, networkName func(string) string) (map[string]string, error) {
	s, err := normal(s, networkName)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("fields of service %s: %w", s.Name, err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(b)))
	decoder.UseNumber() // a float64 would round nanoseconds and bytes
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("fields of service %s: %w", s.Name, err)
	}
	fields := map[string]string{}
	flatten("", tree, fields)
	for field := range fields {
		if Volatile(field) {
			delete(fields, field)
		}
	}
	return fields, nil
}

// Volatile says that a field is Rolling's or Swarm's own count of writes and no setting.
func Volatile(field string) bool {
	if label, ok := strings.CutPrefix(field, "deploy.labels."); ok {
		return isVolatile(label)
	}
	return field == "Name" || field == "TaskTemplate.ForceUpdate" || field == "labels."+contract.Release
}

// Restarts says that Swarm replaces every task when this field changes: it belongs to the task template or to the ports.
// Labels of the service, the count and the update's settings do not.
func Restarts(field string) bool {
	for _, prefix := range []string{"deploy.labels.", "deploy.replicas", "deploy.mode", "deploy.update_config.", "deploy.rollback_config."} {
		if strings.HasPrefix(field, prefix) {
			return false
		}
	}
	return true
}

// fingerprintVersion goes before every fingerprint. It grows when Fields changes what it calls a field: fingerprints of
// two versions cannot be compared, and a service written by an older manager must not look changed by hand.
const fingerprintVersion = "1-"

// Fingerprint is one short text for all fields.
func Fingerprint(fields map[string]string) string {
	h := sha256.New()
	for field, v := range sorted(fields) {
		fmt.Fprintf(h, "%q=%q\n", field, v)
	}
	return fingerprintVersion + hex.EncodeToString(h.Sum(nil))[:16]
}

// ByHand says that a service is not as the manager left it: its fields do not fit the fingerprint in its label. A label
// by another version of the manager says nothing.
func ByHand(fields map[string]string, label string) bool {
	return strings.HasPrefix(label, fingerprintVersion) && label != Fingerprint(fields)
}

// renames turn Swarm's paths into those of the project file; the longest prefix wins by standing first.
var renames = [][2]string{
	{"Labels.", "deploy.labels."},
	{"Mode.Replicated.Replicas", "deploy.replicas"},
	{"Mode.Global", "deploy.mode"},
	{"UpdateConfig.FailureAction", "deploy.update_config.failure_action"},
	{"UpdateConfig.", "deploy.update_config."},
	{"RollbackConfig.", "deploy.rollback_config."},
	{"EndpointSpec.Mode", "deploy.endpoint_mode"},
	{"EndpointSpec.Ports.", "ports."},
	{"TaskTemplate.ContainerSpec.Image", "image"},
	{"TaskTemplate.ContainerSpec.Labels.", "labels."},
	{"TaskTemplate.ContainerSpec.Command", "entrypoint"},
	{"TaskTemplate.ContainerSpec.Args", "command"},
	{"TaskTemplate.ContainerSpec.Env.", "environment."},
	{"TaskTemplate.ContainerSpec.Dir", "working_dir"},
	{"TaskTemplate.ContainerSpec.User", "user"},
	{"TaskTemplate.ContainerSpec.Hostname", "hostname"},
	{"TaskTemplate.ContainerSpec.Healthcheck.", "healthcheck."},
	{"TaskTemplate.ContainerSpec.StopSignal", "stop_signal"},
	{"TaskTemplate.ContainerSpec.StopGracePeriod", "stop_grace_period"},
	{"TaskTemplate.ContainerSpec.Mounts.", "volumes."},
	{"TaskTemplate.ContainerSpec.Configs.", "configs."},
	{"TaskTemplate.ContainerSpec.Secrets.", "secrets."},
	{"TaskTemplate.ContainerSpec.Sysctls.", "sysctls."},
	{"TaskTemplate.ContainerSpec.Ulimits.", "ulimits."},
	{"TaskTemplate.ContainerSpec.CapabilityAdd", "cap_add"},
	{"TaskTemplate.ContainerSpec.CapabilityDrop", "cap_drop"},
	{"TaskTemplate.ContainerSpec.DNSConfig.", "dns."},
	{"TaskTemplate.ContainerSpec.Hosts", "extra_hosts"},
	{"TaskTemplate.ContainerSpec.ReadOnly", "read_only"},
	{"TaskTemplate.ContainerSpec.Init", "init"},
	{"TaskTemplate.ContainerSpec.", ""},
	{"TaskTemplate.Networks.", "networks."},
	{"TaskTemplate.LogDriver.Name", "logging.driver"},
	{"TaskTemplate.LogDriver.Options.", "logging.options."},
	{"TaskTemplate.Resources.Limits.NanoCPUs", "deploy.resources.limits.cpus"},
	{"TaskTemplate.Resources.Limits.MemoryBytes", "deploy.resources.limits.memory"},
	{"TaskTemplate.Resources.Reservations.NanoCPUs", "deploy.resources.reservations.cpus"},
	{"TaskTemplate.Resources.Reservations.MemoryBytes", "deploy.resources.reservations.memory"},
	{"TaskTemplate.Resources.", "deploy.resources."},
	{"TaskTemplate.RestartPolicy.", "deploy.restart_policy."},
	{"TaskTemplate.Placement.", "deploy.placement."},
}

func rename(path string) string {
	for _, r := range renames {
		if rest, ok := strings.CutPrefix(path, r[0]); ok {
			if strings.HasSuffix(r[0], ".") && (r[1] == "deploy.update_config." || r[1] == "deploy.rollback_config." || r[1] == "healthcheck.") {
				return r[1] + snake(rest)
			}
			return r[1] + rest
		}
	}
	return path
}

// snake turns FailureAction into failure_action.
func snake(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// keyed are lists whose order says nothing and whose items have a name of their own.
var keyed = map[string]func(item any) (name string, rest any){
	"TaskTemplate.ContainerSpec.Env":     byEquals,
	"TaskTemplate.ContainerSpec.Mounts":  by("Target"),
	"TaskTemplate.ContainerSpec.Ulimits": by("Name"),
	"TaskTemplate.ContainerSpec.Configs": by("File.Name"),
	"TaskTemplate.ContainerSpec.Secrets": by("File.Name"),
	"TaskTemplate.Networks":              by("Target"),
	"EndpointSpec.Ports":                 by("TargetPort", "Protocol", "PublishMode", "PublishedPort"),
}

func byEquals(item any) (string, any) {
	key, v, _ := strings.Cut(fmt.Sprint(item), "=")
	return key, strconv.Quote(v)
}

func by(names ...string) func(any) (string, any) {
	return func(item any) (string, any) {
		m, ok := item.(map[string]any)
		if !ok {
			return fmt.Sprint(item), item
		}
		rest := maps.Clone(m)
		var parts []string
		for _, name := range names {
			parts = append(parts, fmt.Sprint(dig(m, name)))
			delete(rest, name)
		}
		return strings.Join(parts, "/"), rest
	}
}

func dig(m map[string]any, path string) any {
	head, rest, deeper := strings.Cut(path, ".")
	v := m[head]
	if inner, ok := v.(map[string]any); ok && deeper {
		return dig(inner, rest)
	}
	if v == nil {
		return ""
	}
	return v
}

// unordered are lists of plain texts whose order says nothing.
var unordered = []string{
	"TaskTemplate.ContainerSpec.CapabilityAdd", "TaskTemplate.ContainerSpec.CapabilityDrop",
	"TaskTemplate.ContainerSpec.Groups", "TaskTemplate.ContainerSpec.Hosts", "TaskTemplate.Placement.Constraints",
}

// flatten writes a tree as flat text. What is empty is as good as absent, save the three where it means something.
func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if path == "Mode.Global" {
			out[rename(path)] = "global"
		}
		for key, item := range v {
			flatten(dotted(path, key), item, out)
		}
	case []any:
		flattenList(path, v, out)
	case bool:
		if v || strings.HasSuffix(path, ".Init") {
			out[rename(path)] = strconv.FormatBool(v)
		}
	case json.Number:
		if v.String() != "0" || strings.HasSuffix(path, ".Replicas") || strings.HasSuffix(path, ".Parallelism") {
			out[rename(path)] = readable(path, v)
		}
	case string:
		if v != "" {
			out[rename(path)] = v
		} else if inNames(path) {
			out[rename(path)] = `""`
		}
	}
}

// inNames says that the last part of a path is a name that the user chose: a label without a value is still a label.
func inNames(path string) bool {
	for _, prefix := range []string{"Labels.", "TaskTemplate.ContainerSpec.Labels.",
		"TaskTemplate.ContainerSpec.Sysctls.", "TaskTemplate.LogDriver.Options."} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

func flattenList(path string, list []any, out map[string]string) {
	if len(list) == 0 {
		return
	}
	if key, ok := keyed[path]; ok {
		for _, item := range list {
			name, rest := key(item)
			at := dotted(path, name)
			before := len(out)
			flatten(at, rest, out)
			if len(out) == before {
				out[rename(at)] = "yes" // all that it says is its name
			}
		}
		return
	}
	b, err := json.Marshal(list)
	if err != nil {
		return // it came out of JSON a moment ago
	}
	if texts, ok := plainTexts(list); ok {
		if slices.Contains(unordered, path) || strings.HasSuffix(path, ".Aliases") {
			slices.Sort(texts)
		}
		if b, err = json.Marshal(texts); err != nil {
			return
		}
	}
	out[rename(path)] = string(b)
}

func plainTexts(list []any) ([]string, bool) {
	var texts []string
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		texts = append(texts, s)
	}
	return texts, true
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// readable writes nanoseconds as a duration, nano-CPUs as CPUs and bytes as in a project file.
func readable(path string, n json.Number) string {
	i, err := n.Int64()
	if err != nil {
		return n.String()
	}
	last := path[strings.LastIndex(path, ".")+1:]
	switch last {
	case "StopGracePeriod", "Interval", "Timeout", "StartPeriod", "StartInterval", "Delay", "Monitor", "Window":
		return time.Duration(i).String()
	case "NanoCPUs":
		return strconv.FormatFloat(float64(i)/1e9, 'f', -1, 64)
	case "MemoryBytes", "SizeBytes":
		return bytes(i)
	case "Mode":
		return fmt.Sprintf("%#o", i)
	}
	return n.String()
}

func bytes(n int64) string {
	units := []string{"", "K", "M", "G", "T"}
	u := 0
	for n != 0 && n%1024 == 0 && u < len(units)-1 {
		n, u = n/1024, u+1
	}
	return strconv.FormatInt(n, 10) + units[u]
}
