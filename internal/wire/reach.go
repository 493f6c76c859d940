package wire

import "net/netip"

// PathReach asks a node whether it lets one address connect to another: GET ?from=ADDRESS&to=ADDRESS:PORT/PROTOCOL: Reach.
const PathReach = "/v1/reach"

// Reach is a node's verdict, as its rolling/net gives it.
type Reach struct {
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule"`              // what decided: own-project, label, operator, no-entry, …
	Service string `json:"service,omitempty"` // whose label it was
	Why     string `json:"why"`
	By      string `json:"by"` // who carries it out on that node
	From    Party  `json:"from"`
	To      Party  `json:"to"`
}

// Party is one end of a connection, as a node knows it.
type Party struct {
	Address netip.Addr `json:"address"`
	Kind    string     `json:"kind"` // in words
	Class   struct {
		Project string `json:"project,omitempty"`
		Open    bool   `json:"open,omitempty"`
	} `json:"class,omitzero"`
}

// Access is who may connect to the containers of a node.
type Access struct {
	Revision string         `json:"revision,omitempty"` // of the policy in force
	Outside  string         `json:"outside,omitempty"`  // the company's other networks: open or closed
	Trouble  string         `json:"trouble,omitempty"`  // why the newest policy is not in force
	Permits  []AccessPermit `json:"permits,omitempty"`
}

// AccessPermit is one of the policy's.
type AccessPermit struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Port     uint16 `json:"port,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	By       string `json:"by,omitempty"`
}
