// Package parts holds what stands around a Swarm in a company: registry, router, and whatever else a test needs
// for real. One file a part. A part knows its Debian packages, its configuration and how to see that it is
// ready. It knows no lab: where it runs, who starts and who ends it is said to it by a Site.
package parts

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Site is where a part runs: in the network of the router, with a folder that lasts until the lab goes down.
type Site struct {
	Folder   string
	Router   netip.Addr   // the address to listen on
	Managers []netip.Addr // of the Swarm
	Workers  []netip.Addr
	Cache    string // a folder that outlasts labs, for downloads
	// Dial connects from inside the router's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Program is what runs in the foreground for as long as the part is on.
type Program struct {
	Path string
	Args []string
	Env  []string // beside PATH, HOME and LC_ALL
}

// Part is one of them.
type Part struct {
	Name     string
	Does     string   // one line for a person
	Packages []string // Debian's, installed when they are missing; their services are not started
	// Prepare writes the configuration into the site's folder and says what to run. It runs before every start,
	// so it keeps the data of the last one.
	Prepare func(context.Context, Site) (Program, error)
	// Ready gives nil once the part answers.
	Ready func(context.Context, Site) error
	// Within bounds the start until Ready, and the stop until SIGKILL.
	Within time.Duration
}

// All lists the parts. A new one is a file with a function like theirs, and a line here.
func All() []Part {
	return []Part{registry(), bird(), frr(), nginx(), zookeeper(), kafka(), graphite(), prometheus()}
}

// Named finds a part.
func Named(name string) (Part, error) {
	var names []string
	for _, p := range All() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Part{}, fmt.Errorf("no part %q: there are %s", name, strings.Join(names, ", "))
}
