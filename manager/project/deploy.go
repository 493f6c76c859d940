package project

import (
	"math"
	"regexp"

	"go.yaml.in/yaml/v4"
)

var constraintPattern = regexp.MustCompile(`^\s*[A-Za-z0-9_.\-/]+\s*(==|!=)\s*\S.*$`)

func deploy() rule {
	return object(keys{
		"mode":            deployMode,
		"replicas":        whole(0, math.MaxInt32),
		"labels":          pairs(false, serviceLabel),
		"endpoint_mode":   oneOf("endpoint mode", "dnsrr", "vip"),
		"update_config":   updateConfig(),
		"rollback_config": updateConfig(),
		"resources": object(keys{
			"limits":       object(keys{"cpus": number(0, 100_000), "memory": size(), "pids": whole(0, math.MaxInt32)}, nil),
			"reservations": object(keys{"cpus": number(0, 100_000), "memory": size(), "generic_resources": listOf(genericResource())}, drops{"devices": "name the device as a generic resource of the nodes that have it"}),
		}, nil),
		"restart_policy": object(keys{
			"condition":    oneOf("condition", "none", "on-failure", "any"),
			"delay":        span(0, forever),
			"max_attempts": whole(0, math.MaxInt32),
			"window":       span(0, forever),
		}, nil),
		"placement": object(keys{
			"constraints":           listOf(matching("a constraint such as node.role==worker", constraintPattern)),
			"preferences":           listOf(object(keys{"spread": word()}, nil)),
			"max_replicas_per_node": whole(0, math.MaxInt32),
		}, nil),
	}, nil)
}

func deployMode(w *walk, at string, n *yaml.Node) {
	if s := scalarOf(n); s == "replicated-job" || s == "global-job" {
		w.say(at, "%q: jobs are not rolled out; want replicated or global", s)
		return
	}
	oneOf("mode", "replicated", "global")(w, at, n)
}

func updateConfig() rule {
	return object(keys{
		"parallelism":       whole(0, math.MaxInt32),
		"delay":             span(0, forever),
		"monitor":           span(0, forever),
		"max_failure_ratio": number(0, 1),
		"order":             oneOf("order", "start-first", "stop-first"),
		"failure_action":    failureAction,
	}, nil)
}

func failureAction(w *walk, at string, n *yaml.Node) {
	if scalarOf(n) == "continue" {
		w.say(at, `"continue": a rollout stops at its first failure; leave it out, or see x-rolling.environments.X.rollout.on-failure`)
		return
	}
	oneOf("failure action", "pause", "rollback")(w, at, n)
}

func genericResource() rule {
	return object(keys{
		"discrete_resource_spec": object(keys{"kind": word(), "value": whole(0, math.MaxInt32)}, nil),
	}, nil)
}

// serviceDrops are the keys of a Compose service that Swarm cannot honour, each with what to do instead.
var serviceDrops = drops{
	"annotations":         "use labels",
	"attach":              "leave it out",
	"blkio_config":        "leave it out",
	"build":               "images are built from x-rolling.source, never by Swarm",
	"cgroup":              "leave it out",
	"cgroup_parent":       "leave it out",
	"container_name":      "Swarm names the containers; a service is found by its own name",
	"cpu_count":           "use deploy.resources.limits.cpus",
	"cpu_percent":         "use deploy.resources.limits.cpus",
	"cpu_period":          "use deploy.resources.limits.cpus",
	"cpu_quota":           "use deploy.resources.limits.cpus",
	"cpu_rt_period":       "leave it out",
	"cpu_rt_runtime":      "leave it out",
	"cpu_shares":          "use deploy.resources.reservations.cpus",
	"cpus":                "use deploy.resources.limits.cpus",
	"cpuset":              "leave it out",
	"credential_spec":     "it is for Windows nodes",
	"depends_on":          "services start in any order; let the program wait, and a health check tell when it is ready",
	"develop":             "leave it out",
	"device_cgroup_rules": "leave it out",
	"devices":             "a task cannot ask for a device of its node; mount it with volumes, or use a generic resource",
	"domainname":          "leave it out",
	"env_file":            "no files are read; write the values under environment",
	"expose":              "services of one network reach every port of each other",
	"extends":             "no other file is read; use YAML anchors",
	"external_links":      "services of one network find each other by name",
	"gpus":                "use deploy.resources.reservations.generic_resources",
	"ipc":                 "leave it out",
	"isolation":           "it is for Windows nodes",
	"label_file":          "no files are read; write them under labels",
	"links":               "services of one network find each other by name",
	"log_driver":          "use logging.driver",
	"log_opt":             "use logging.options",
	"mac_address":         "the MAC address is derived from the IPv4 one",
	"mem_limit":           "use deploy.resources.limits.memory",
	"mem_reservation":     "use deploy.resources.reservations.memory",
	"mem_swappiness":      "leave it out",
	"memswap_limit":       "leave it out",
	"models":              "leave it out",
	"net":                 "use networks",
	"network_mode":        "use networks",
	"oom_kill_disable":    "leave it out",
	"pid":                 "leave it out",
	"pids_limit":          "use deploy.resources.limits.pids",
	"platform":            "use deploy.placement.constraints (node.platform.arch)",
	"post_start":          "Swarm runs no hooks",
	"pre_start":           "Swarm runs no hooks",
	"pre_stop":            "Swarm runs no hooks; use stop_signal, or the label rolling.drain",
	"privileged":          "use cap_add",
	"profiles":            "use x-rolling.environments.X.services",
	"provider":            "leave it out",
	"pull_policy":         "images are pinned by digest, so a node pulls what it lacks",
	"pull_refresh_after":  "images are pinned by digest, so a node pulls what it lacks",
	"restart":             "use deploy.restart_policy",
	"runtime":             "leave it out",
	"scale":               "use deploy.replicas",
	"security_opt":        "leave it out",
	"shm_size":            "mount a tmpfs at /dev/shm with volumes",
	"storage_opt":         "leave it out",
	"tmpfs":               "use volumes with type: tmpfs",
	"umask":               "leave it out",
	"use_api_socket":      "mount the socket with volumes",
	"userns_mode":         "leave it out",
	"uts":                 "leave it out",
	"volume_driver":       "use volumes.X.driver",
	"volumes_from":        "mount the same volume in both services",
}

var bindDrops = drops{
	"selinux":          "leave it out",
	"create_host_path": "the path must be there on every node",
	"recursive":        "leave it out",
}

// topDrops are keys of a whole Compose file that say nothing to Swarm.
var topDrops = drops{
	"include": "no other file is read",
	"jobs":    "jobs are not rolled out",
	"models":  "leave it out",
	"name":    "x-rolling.project names the project",
}

// nothing accepts any value: it is for the obsolete key "version", which old stack files carry.
func nothing(*walk, string, *yaml.Node) {}
