// Package naming decides whose figures a container's are: its project, environment, service, slot and task, and the
// Graphite path made of them. It knows labels and names. It knows no engine and no figure.
package naming

import (
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Labels that Swarm, docker stack deploy and docker compose put on containers.
const (
	stackLabel       = "com.docker.stack.namespace"
	serviceNameLabel = "com.docker.swarm.service.name"
	taskIDLabel      = "com.docker.swarm.task.id"
	taskNameLabel    = "com.docker.swarm.task.name"
	nodeIDLabel      = "com.docker.swarm.node.id"
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeNumber    = "com.docker.compose.container-number"
)

// A Name is whose a container's figures are.
type Name struct {
	Project, Environment, Service, Slot string
	Task                                string // its full id, empty outside Swarm
	Node                                string // host name
}

// Of names a container that runs on the node.
func Of(node, container string, labels map[string]string) Name {
	container = strings.TrimPrefix(container, "/")
	n := Name{Node: node, Task: labels[taskIDLabel]}
	n.Environment = first(labels[contract.Environment], contract.NoName)
	if service := labels[serviceNameLabel]; service != "" {
		stack := labels[stackLabel]
		if stack != "" {
			service = strings.TrimPrefix(service, stack+"_")
		}
		n.Project = first(labels[contract.Project], stack, contract.NoName)
		n.Service = first(labels[contract.Service], service)
		n.Slot = slot(node, labels)
		return n
	}
	// Without Swarm nothing makes a slot one of the cluster's: the node's name does.
	n.Project = first(labels[contract.Project], labels[composeProject], contract.NoName)
	n.Slot = host(node)
	switch {
	case labels[contract.Service] != "":
		n.Service, n.Slot = labels[contract.Service], n.Slot+"_"+container
	case labels[composeService] != "":
		n.Service, n.Slot = labels[composeService], n.Slot+"_"+first(labels[composeNumber], container)
	default:
		n.Service = first(container, contract.NoName)
	}
	return n
}

// slot reads SERVICE.SLOT.TASK; a global service has the node's id for a slot, and the node's name tells people more.
func slot(node string, labels map[string]string) string {
	s := strings.TrimSuffix(labels[taskNameLabel], "."+labels[taskIDLabel])
	s = s[strings.LastIndexByte(s, '.')+1:]
	if s == "" || s == labels[nodeIDLabel] {
		return host(node)
	}
	return s
}

func host(node string) string { return strings.ReplaceAll(node, ".", "_") }

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// shortTask is how many characters of a task's id a label shows.
const shortTask = 12

// Labels are the values of contract.MetricLabels.
func (n Name) Labels(cluster string) []string {
	return []string{cluster, n.Project, n.Environment, n.Service, n.Slot, n.Task[:min(shortTask, len(n.Task))], n.Node}
}

// Path is the slot's Graphite path, without a metric: two tasks of one slot share it.
func (n Name) Path(cluster string) string {
	return strings.Join([]string{contract.GraphiteRoot, Clean(cluster), Clean(n.Project), Clean(n.Environment), Clean(n.Service), Clean(n.Slot)}, ".")
}

// longestNode keeps a path's piece a file name for whisper.
const longestNode = 128

// Clean makes one piece of a Graphite path of a text: no dot, no space, nothing that Graphite's functions give a meaning.
func Clean(text string) string {
	if text == "" {
		return contract.NoName
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, text)
	return clean[:min(longestNode, len(clean))]
}
