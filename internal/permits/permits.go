// Package permits is the document that says which projects there are and which of them may connect to which. The agents
// make it of the services' labels and lay it on every node; rolling/net keeps to it. It knows the text, the names and
// their numbers; it knows no Swarm, no file and no firewall.
package permits

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// File is the document's name in the folder of rolling/net.
	File = "policy.json"
	// Version is of the text's form. A program refuses a higher one whole: it would drop what it does not know.
	Version = 1
	// MaxText bounds what is read: ten thousand permits of long names are 2 MiB.
	MaxText = 8 << 20
	// Outside, as a project in allow-from, is the company's other networks, and containers of no project.
	Outside = "@outside"
)

// Document is the whole of it. Everything is sorted, so that equal content is equal text.
type Document struct {
	Version  int            `json:"version"`
	Revision string         `json:"revision,omitempty"` // of the content: two nodes with the same one do the same
	Projects []string       `json:"projects"`
	Pools    []netip.Prefix `json:"pools"` // of all networks of rolling/net: what is in them is a container, known or not
	Permits  []Permit       `json:"permits"`
}

// Permit lets one project's containers connect to another's.
type Permit struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Port     uint16   `json:"port,omitempty"`     // 0: all, of every protocol
	Protocol Protocol `json:"protocol,omitempty"` // with a port: tcp, udp, or both where it is left out
	By       string   `json:"by,omitempty"`       // the service whose label says so
}

// Protocol is one that has ports.
type Protocol string

// The protocols that a permit may name.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Number is what a project's addresses carry through the fabric. Zero is none.
type Number uint32

// firstNumber: 0 is no mark, 1 is that of networks of no project.
const firstNumber = 2

// NumberOf is 32 bits of the name's hash (FNV-1a): every node comes to the same without asking. Two names may have one;
// who sees that trusts neither.
func NumberOf(name string) Number {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // a hash.Hash never fails
	if n := Number(h.Sum32()); n >= firstNumber {
		return n
	}
	return firstNumber
}

// Seal sorts, takes out what is there twice, and names the content.
func (d Document) Seal() Document {
	d.Version, d.Revision = Version, ""
	d.Projects = unique(d.Projects, strings.Compare)
	d.Pools = unique(d.Pools, netip.Prefix.Compare)
	d.Permits = unique(d.Permits, Permit.compare)
	d.Revision = d.digest()
	return d
}

func unique[T comparable](all []T, order func(a, b T) int) []T {
	all = append([]T{}, all...)
	slices.SortFunc(all, order)
	return slices.Compact(all)
}

func (p Permit) compare(o Permit) int {
	return cmp.Or(cmp.Compare(p.To, o.To), cmp.Compare(p.From, o.From), cmp.Compare(p.Port, o.Port), cmp.Compare(p.Protocol, o.Protocol), cmp.Compare(p.By, o.By))
}

func (d Document) digest() string {
	d.Revision = ""
	text, err := json.Marshal(d)
	if err != nil { // strings, numbers and prefixes
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Text is the document as it is laid on nodes.
func (d Document) Text() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the policy: %w", err)
	}
	return append(text, '\n'), nil
}

// Parse reads the text. Nothing of one that is wrong counts. A revision that is not the content's is a text that was cut
// off or edited; one without a revision was written by a person.
func Parse(text []byte) (Document, error) {
	var d Document
	if len(text) > MaxText {
		return d, fmt.Errorf("policy of %d bytes: want %d at most", len(text), MaxText)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return Document{}, fmt.Errorf("policy: %w", err)
	}
	if d.Version != Version {
		return Document{}, fmt.Errorf("policy of version %d: this program reads version %d: upgrade it", d.Version, Version)
	}
	if err := d.check(); err != nil {
		return Document{}, fmt.Errorf("policy: %w", err)
	}
	said := d.Revision
	d = d.Seal()
	if said != "" && said != d.Revision {
		return Document{}, fmt.Errorf("policy says revision %s, its content is %s: it was cut off or edited: whoever edits it takes the revision out", said, d.Revision)
	}
	return d, nil
}

// Names are what engines and label readers take for a project's.
var name = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)

// IsName says whether a word can be a project's name.
func IsName(word string) bool { return name.MatchString(word) }

func (d Document) check() error {
	var problems []error
	for _, p := range d.Projects {
		if !IsName(p) {
			problems = append(problems, fmt.Errorf("projects: %q is not a name", p))
		}
	}
	for _, p := range d.Pools {
		if !p.IsValid() || p.Bits() == 0 || p.Masked() != p {
			problems = append(problems, fmt.Errorf("pools: %s is not a subnet", p))
		}
	}
	for _, p := range d.Permits {
		if err := p.check(); err != nil {
			problems = append(problems, fmt.Errorf("permits: %s → %s: %w", p.From, p.To, err))
		}
	}
	const shown = 10
	if more := len(problems) - shown; more > 0 {
		problems = append(problems[:shown], fmt.Errorf("and %d more", more))
	}
	return errors.Join(problems...)
}

func (p Permit) check() error {
	switch {
	case p.From != Outside && !IsName(p.From) || !IsName(p.To):
		return errors.New("want names of projects")
	case p.Port == 0 && p.Protocol != "":
		return fmt.Errorf("protocol %q without a port", p.Protocol)
	case p.Protocol != "" && p.Protocol != TCP && p.Protocol != UDP:
		return fmt.Errorf("protocol %q: want tcp or udp", p.Protocol)
	}
	return nil
}

// ParseAllowFrom reads the label rolling.allow-from of a service of the project: PROJECT, PROJECT:PORT or
// PROJECT:PORT/PROTOCOL, with commas between. What can be read counts; the error names the rest.
func ParseAllowFrom(label, to, service string) ([]Permit, error) {
	var all []Permit
	var problems []error
	for item := range strings.SplitSeq(label, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		p, err := parseItem(item)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		p.To, p.By = to, service
		all = append(all, p)
	}
	return all, errors.Join(problems...)
}

func parseItem(item string) (Permit, error) {
	from, door, hasPort := strings.Cut(item, ":")
	p := Permit{From: from}
	if from != Outside && !IsName(from) {
		return p, fmt.Errorf("%q: %q is not a project: want PROJECT, PROJECT:PORT or PROJECT:PORT/PROTOCOL, with commas between", item, from)
	}
	if !hasPort {
		return p, nil
	}
	port, protocol, hasProtocol := strings.Cut(door, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return p, fmt.Errorf("%q: %q is not a port", item, port)
	}
	p.Port, p.Protocol = uint16(n), Protocol(protocol)
	if hasProtocol && p.Protocol != TCP && p.Protocol != UDP {
		return p, fmt.Errorf("%q: %q is not a protocol with ports (tcp, udp)", item, protocol)
	}
	return p, nil
}
