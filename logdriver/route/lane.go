package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// A Container is what the engine says of one whose lines are to be carried. Its variables may hold secrets: only those
// that the options name are kept.
type Container struct {
	ID, Name, ImageID, ImageName, DaemonName string
	Options                                  map[string]string
	Labels                                   map[string]string
	Env                                      []string
}

// A Node is where the plugin runs.
type Node struct {
	Host, Cluster string
}

// A Lane is all that is needed to carry a container's lines: it is kept beside them on disk.
type Lane struct {
	Container   string `json:"container"` // its whole ID
	Name        string `json:"name"`
	Image       string `json:"image,omitempty"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
	Service     string `json:"service"`
	Slot        string `json:"slot,omitempty"`
	Release     string `json:"release,omitempty"`
	Node        string `json:"node"`

	Topic      string      `json:"topic"`
	Key        string      `json:"key"`
	Format     Format      `json:"format"`
	OnFull     OnFull      `json:"onFull"`
	SpoolMax   int64       `json:"spoolMax"`
	MaxLine    int         `json:"maxLine"`
	Begins     string      `json:"multilineStart,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"` // sorted by name
}

// An Attribute is a label, a variable or the tag that the options ask for.
type Attribute struct {
	Name, Value string
}

// Labels that Swarm and Compose put on their containers.
const (
	stackLabel          = "com.docker.stack.namespace"
	serviceLabel        = "com.docker.swarm.service.name"
	taskLabel           = "com.docker.swarm.task.name"
	taskIDLabel         = "com.docker.swarm.task.id"
	nodeLabel           = "com.docker.swarm.node.id"
	composeProjectLabel = "com.docker.compose.project"
	composeServiceLabel = "com.docker.compose.service"
	composeNumberLabel  = "com.docker.compose.container-number"
)

const shortID = 12

// Plan makes a container's lane, or says all that is wrong with its options.
func Plan(c Container, n Node, limits Limits) (Lane, error) {
	o, err := readOptions(c.Options, limits)
	if err != nil {
		return Lane{}, err
	}
	short := c.ID[:min(shortID, len(c.ID))]
	f := fields{Node: n.Host, Cluster: n.Cluster, Container: short, Name: strings.TrimPrefix(c.Name, "/"), Labels: c.Labels}
	f.identify(c.Labels)
	topic, err := fill(o.topic, f)
	if err != nil {
		return Lane{}, err
	}
	key, err := fill(o.key, f)
	if err != nil {
		return Lane{}, err
	}
	attributes, err := attributes(c, o, short)
	if err != nil {
		return Lane{}, err
	}
	return Lane{
		Container: c.ID, Name: f.Name, Image: c.ImageName,
		Project: f.Project, Environment: f.Environment, Service: f.Service, Slot: f.Slot, Release: f.Release, Node: n.Host,
		Topic: CleanTopic(topic), Key: key, Format: o.format, OnFull: o.onFull, SpoolMax: o.spoolMax, MaxLine: o.maxLine,
		Begins: o.begins, Attributes: attributes,
	}, nil
}

// Unknown is the lane of a pipe that nobody explained: its lines are carried all the same.
func Unknown(id string, n Node, limits Limits) Lane {
	lane, err := Plan(Container{ID: id, Name: "unknown"}, n, limits)
	if err != nil {
		return Lane{} // no options, nothing to be wrong
	}
	return lane
}

// identify reads who the container belongs to: the labels of Rolling first, then Swarm's, then Compose's.
func (f *fields) identify(labels map[string]string) {
	stack := labels[stackLabel]
	service := strings.TrimPrefix(labels[serviceLabel], stack+"_")
	f.Project = cmp.Or(labels[contract.Project], stack, labels[composeProjectLabel], contract.NoName)
	f.Environment = cmp.Or(labels[contract.Environment], contract.NoName)
	f.Service = cmp.Or(labels[contract.Service], service, labels[composeServiceLabel], contract.NoName)
	f.Release = labels[contract.Release]
	f.Slot = slot(labels, f.Node)
}

// slot is the task's number; a global service's task has its node's ID in that place, and its host's name is its slot.
func slot(labels map[string]string, host string) string {
	middle, ok := strings.CutPrefix(labels[taskLabel], labels[serviceLabel]+".")
	if !ok {
		return labels[composeNumberLabel]
	}
	middle = strings.TrimSuffix(middle, "."+labels[taskIDLabel])
	if middle == labels[nodeLabel] {
		return strings.ReplaceAll(host, ".", "_")
	}
	return middle
}

func attributes(c Container, o options, short string) ([]Attribute, error) {
	found := map[string]string{}
	for name, value := range c.Labels {
		if o.labels.has(name) {
			found[name] = value
		}
	}
	for _, v := range c.Env {
		if name, value, ok := strings.Cut(v, "="); ok && o.envs.has(name) {
			found[name] = value
		}
	}
	if o.tag != "" {
		tag, err := fill(o.tag, tagFields{
			ID: short, FullID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), DaemonName: c.DaemonName,
			ImageID:     strings.TrimPrefix(c.ImageID, "sha256:")[:min(shortID, len(strings.TrimPrefix(c.ImageID, "sha256:")))],
			ImageFullID: c.ImageID, ImageName: c.ImageName,
		})
		if err != nil {
			return nil, err
		}
		found["tag"] = tag
	}
	list := make([]Attribute, 0, len(found))
	for name, value := range found {
		list = append(list, Attribute{name, value})
	}
	slices.SortFunc(list, func(a, b Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
