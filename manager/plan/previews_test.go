package plan

import (
	"strings"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/spec"
)

var aaa, bbb = strings.Repeat("a", 64), strings.Repeat("b", 64)

// edit gives the project file with words replaced.
func edit(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(orders) }

const orders = `
x-rolling: {project: orders, environments: {test: {stage: test}}}
services:
  web:
    networks: [app]
    configs: [site]
    secrets: [password]
    environment: {LEVEL: info}
    deploy: {replicas: 3, labels: {rolling.discovery.nginx: "orders:8080"}}
  worker: {networks: [app]}
networks:
  app: {driver: "rolling/net:latest", ipam: {config: [{subnet: 10.210.3.0/24}]}}
configs: {site: {file: a}}
secrets: {password: {file: a}}
`

type preview struct {
	name   string
	before string // "": nothing deployed yet
	hand   func(s *toy)
	after  string
	id     string
	images map[string]string
	want   string
}

var previews = []preview{
	{name: "the first deployment makes everything, services last", after: orders, want: `
orders-test at release r-1: 5 steps
+ network orders-test_app: the project has it and Swarm has not
+ config orders-test_site-e0a693b2d5: the project has it and Swarm has not
+ secret orders-test_password-0b4a4bd149: the project has it and Swarm has not
+ service orders-test_web: the project has it and Swarm has not
    3 tasks of registry.example/web@sha256:` + aaa + `
+ service orders-test_worker: the project has it and Swarm has not
    1 task of registry.example/worker@sha256:` + aaa + `
`},
	{name: "deployed and planned again there is nothing", before: orders, after: orders, want: `
orders-test at release r-1: nothing to do
`},
	{name: "a release with the same images changes nothing", before: orders, after: orders, id: "r-2", want: `
orders-test at release r-2: nothing to do
`},
	{name: "a new image is named and nothing else", before: orders, after: orders, id: "r-2", images: map[string]string{"web": "b"}, want: `
orders-test at release r-2: 1 step
~ service orders-test_web: 1 setting differs; restarts 3 tasks
    image: registry.example/web@sha256:` + aaa + ` → registry.example/web@sha256:` + bbb + `
`},
	{name: "a count and a label restart nothing", before: orders, after: edit("replicas: 3", "replicas: 5", "orders:8080", "orders:9090"), want: `
orders-test at release r-1: 1 step
~ service orders-test_web: 2 settings differ; no task restarts
    deploy.replicas: 3 → 5
    deploy.labels.rolling.discovery.nginx: orders:8080 → orders:9090
`},
	{name: "new content of a config is a new config, and the old one goes last", before: orders, after: edit("site: {file: a}", "site: {file: b}"), want: `
orders-test at release r-1: 3 steps
+ config orders-test_site-21e90ce7f8: the project has it and Swarm has not
~ service orders-test_web: 1 setting differs; restarts 3 tasks
    configs.site.ConfigName: orders-test_site-e0a693b2d5 → orders-test_site-21e90ce7f8
- config orders-test_site-e0a693b2d5: the project has it no longer
`},
	{name: "a renamed network is made before the services move and removed after", before: orders, after: edit("app", "lan"), want: `
orders-test at release r-1: 4 steps
+ network orders-test_lan: the project has it and Swarm has not
~ service orders-test_web: 2 settings differ; restarts 3 tasks
    networks.orders-test_app.Aliases: ["web"] → (none)
    networks.orders-test_lan.Aliases: (none) → ["web"]
~ service orders-test_worker: 2 settings differ; restarts 1 task
    networks.orders-test_app.Aliases: ["worker"] → (none)
    networks.orders-test_lan.Aliases: (none) → ["worker"]
- network orders-test_app: the project has it no longer
`},
	{name: "a service that the project dropped goes", before: orders, after: edit("  worker: {networks: [app]}\n", ""), want: `
orders-test at release r-1: 1 step
- service orders-test_worker: the project has it no longer
`},
	{name: "what somebody changed by hand is named as such", before: orders, after: orders, hand: func(s *toy) {
		n := uint64(9)
		s.service("orders-test_web").Spec.Mode.Replicated.Replicas = &n
		s.service("orders-test_web").Spec.TaskTemplate.ContainerSpec.Env = []string{"LEVEL=debug"}
	}, want: `
orders-test at release r-1: 1 step
~ service orders-test_web: changed by hand since Rolling wrote it; this takes it back; restarts 9 tasks
    deploy.replicas: 9 → 3
    environment.LEVEL: "debug" → "info"
`},
	{name: "a change by hand under a new release is said too", before: orders, after: orders, id: "r-2", images: map[string]string{"web": "b"}, hand: func(s *toy) {
		s.service("orders-test_web").Spec.Labels["note"] = "mine"
	}, want: `
orders-test at release r-2: 1 step
~ service orders-test_web: 2 settings differ, and it was changed by hand since Rolling wrote it; restarts 3 tasks
    image: registry.example/web@sha256:` + aaa + ` → registry.example/web@sha256:` + bbb + `
    deploy.labels.note: mine → (none)
`},
	{name: "a service written by an older manager does not look changed by hand", before: orders, after: edit("LEVEL: info", "LEVEL: warn"), hand: func(s *toy) {
		s.service("orders-test_web").Spec.Labels[contract.Spec] = "0-feedfeedfeedfeed"
	}, want: `
orders-test at release r-1: 1 step
~ service orders-test_web: 1 setting differs; restarts 3 tasks
    environment.LEVEL: "info" → "warn"
`},
	{name: "a network cannot be changed, and says so", before: orders, after: edit("10.210.3.0/24", "10.210.4.0/24"), want: `
orders-test at release r-1: 0 steps
! network orders-test_app: Swarm cannot change a network (ipam.config[0].subnet: 10.210.3.0/24 → 10.210.4.0/24): give it another name in the project file; the new one is made, the services move, the old one goes
`},
	{name: "a service cannot become global", before: orders, after: edit("replicas: 3", "mode: global"), want: `
orders-test at release r-1: 0 steps
! service orders-test_web: Swarm cannot change a service between replicated and global: give it another name in the project file, or remove it first
`},
	{name: "a name that somebody else has is left alone", after: orders, hand: func(s *toy) {
		s.Services[0].Spec.Name = "orders-test_web"
		s.Services[1].Spec.Name = "orders-test_worker"
		s.Networks[2].Spec.Name = "orders-test_app"
		s.Configs[0].Spec = swarm.ConfigSpec{Annotations: swarm.Annotations{Name: "orders-test_site-e0a693b2d5", Labels: map[string]string{spec.StackNamespace: "shop"}}}
		s.Secrets[0].Spec.Name = "orders-test_password-0b4a4bd149"
	}, want: `
orders-test at release r-1: 0 steps
! network orders-test_app: this name is taken, the object is project other's, environment test: remove it, or rename the project or environment
! config orders-test_site-e0a693b2d5: this name is taken, the object is stack shop's: remove it, or rename the project or environment
! secret orders-test_password-0b4a4bd149: this name is taken, the object is nobody's that Rolling knows: remove it, or rename the project or environment
! service orders-test_web: this name is taken, the object is nobody's that Rolling knows: remove it, or rename the project or environment
! service orders-test_worker: this name is taken, the object is project orders's, environment test, written by hand: remove it, or rename the project or environment
`},
	{name: "what is external must be there", after: `
x-rolling: {project: orders, environments: {test: {stage: test}}}
services: {web: {networks: [wide, foreign0], configs: [c], secrets: [s]}}
networks: {wide: {external: true}, foreign0: {external: true}}
configs: {c: {external: true, name: shared}}
secrets: {s: {external: true}}
`, want: `
orders-test at release r-1: 1 step
+ service orders-test_web: the project has it and Swarm has not
    1 task of registry.example/web@sha256:` + aaa + `
! network wide: the project calls it external, and Swarm has none of that name: make it first
! config shared: the project calls it external, and Swarm has none of that name: make it first
! secret s: the project calls it external, and Swarm has none of that name: make it first
`},
	{name: "a decision that may surprise is explained", after: `
x-rolling: {project: orders, environments: {test: {stage: test}}}
services: {edge: {ports: [{target: 80, published: "8080", mode: host}], networks: [foreign0], deploy: {mode: global}}}
networks: {foreign0: {external: true}}
`, want: `
orders-test at release r-1: 1 step
+ service orders-test_edge: the project has it and Swarm has not
    one task a node of registry.example/edge@sha256:` + aaa + `
  service edge: stop-first: a new task would wait for port 8080 of the node, which the old one holds
`},
}
