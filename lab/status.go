package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rolling-swarm/rolling/lab/parts"
)

// Status is what a person or a script wants to know of a lab.
type Status struct {
	Name   string       `json:"name"`
	Engine string       `json:"engine"` // the Debian suite
	Router string       `json:"router"`
	Nodes  []NodeStatus `json:"nodes"`
	Parts  []PartStatus `json:"parts"`
	Relays []string     `json:"relays"` // "127.0.0.1:8080 > 10.99.0.1:80"
}

// NodeStatus is one node.
type NodeStatus struct {
	Name    string `json:"name"`
	Role    string `json:"role"` // manager, worker
	Address string `json:"address"`
	Power   string `json:"power"`   // on, off
	Cable   string `json:"cable"`   // joined, cut
	Swarm   string `json:"swarm"`   // as the Swarm's leader sees it: ready, down, unknown, …; empty when nobody answers
	Version string `json:"version"` // of the engine, as told to the Swarm
	Leader  bool   `json:"leader"`
	PID     int    `json:"pid,omitempty"` // of the node's PID 1, on this machine
}

// PartStatus is one part.
type PartStatus struct {
	Name string `json:"name"`
	Does string `json:"does"`
	On   bool   `json:"on"`
}

// Status looks at the lab; a Swarm that does not answer is no error.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	s := Status{Name: l.name, Router: routerAddr.String(), Relays: []string{}}
	if l.wrong != nil {
		return s, l.wrong
	}
	r, err := l.readRecord()
	if err != nil {
		return s, err
	}
	s.Engine = r.Engine
	seen, _, _ := l.swarmNodes(ctx, r.nodes()[:r.Managers])
	for i, name := range r.nodes() {
		n := NodeStatus{Name: name, Role: "worker", Address: l.Address(name).String(), Power: "off", Cable: "joined"}
		if i < r.Managers {
			n.Role = "manager"
		}
		if p, on := l.init(name); on {
			n.Power, n.PID = "on", p.PID
		}
		if l.isCut(name) {
			n.Cable = "cut"
		}
		for _, got := range seen {
			if got.Description.Hostname == name {
				n.Swarm, n.Version = string(got.Status.State), got.Description.Engine.EngineVersion
				n.Leader = got.ManagerStatus != nil && got.ManagerStatus.Leader
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	for _, p := range parts.All() {
		_, on := l.partProcess(p.Name)
		s.Parts = append(s.Parts, PartStatus{Name: p.Name, Does: p.Does, On: on})
	}
	s.Relays = append(s.Relays, l.relays()...)
	return s, nil
}

// relays lists the relays that processes of their own serve.
func (l *Lab) relays() []string {
	var found []string
	for _, p := range marked(l.mark(), markNode+Router) {
		for _, v := range environOf(p.PID) {
			if what, ok := strings.CutPrefix(v, markRelay); ok {
				found = append(found, what)
			}
		}
	}
	return found
}

// LogFile is where the node's engine writes its log.
func (l *Lab) LogFile(node string) (string, error) {
	if err := l.known(node); err != nil {
		return "", err
	}
	return l.folder(node, "host", "dockerd.log"), nil
}

// SaveLogs copies the logs of engines, nodes' PID 1 and parts into a folder, for a look after the lab is gone.
func (l *Lab) SaveLogs(folder string) error {
	var errs []string
	for _, pattern := range []string{"n*/host/dockerd.log", "n*/init.log", "parts/*.log"} {
		files, _ := filepath.Glob(l.folder(pattern))
		for _, file := range files {
			name := strings.ReplaceAll(strings.TrimPrefix(file, l.folder()+"/"), "/", "-")
			if err := copyFile(filepath.Join(folder, name), file); err != nil {
				errs = append(errs, err.Error())
			}
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("save logs of lab %s: %s", l.name, strings.Join(errs, "; "))
	}
	return nil
}
