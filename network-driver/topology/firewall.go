package topology

import (
	"net/netip"
	"slices"
	"strings"
)

// Firewall is what forwarding meets in iptables, for whoever looks.
type Firewall struct {
	Policy string   `json:"policy"`           // of FORWARD
	Open   bool     `json:"open"`             // our rules are there for every pool, and are reached
	Before []string `json:"before,omitempty"` // rules of others that drop or reject, and are met first
}

// Chains are the rules that decide it, as iptables -S prints them; none where there is no such chain.
type Chains struct {
	Forward, Docker, Own []string
	DockerName, OwnName  string
}

// ReadFirewall says what the chains mean for packets to and from the pools.
func ReadFirewall(c Chains, pools []netip.Prefix) Firewall {
	f := Firewall{Policy: "ACCEPT"}
	if len(c.Forward) > 0 {
		if fields := strings.Fields(c.Forward[0]); len(fields) == 3 && fields[0] == "-P" {
			f.Policy = fields[2]
		}
	}
	docker, reached := upTo(c.Forward, c.DockerName)
	own, jumped := upTo(c.Docker, c.OwnName)
	f.Before = append(docker, own...)
	f.Open = reached && jumped
	for _, p := range pools {
		for _, way := range []string{"-s", "-d"} {
			f.Open = f.Open && slices.ContainsFunc(c.Own, func(rule string) bool {
				return strings.Contains(rule+" ", " "+way+" "+p.String()+" ") && strings.HasSuffix(rule, " -j ACCEPT")
			})
		}
	}
	return f
}

// upTo gives the rules that end a packet's way before the jump to a chain, and says whether there is that jump.
func upTo(rules []string, chain string) (ends []string, found bool) {
	for _, r := range rules {
		fields := strings.Fields(r)
		if len(fields) < 4 || fields[0] != "-A" {
			continue
		}
		at := slices.Index(fields, "-j")
		if at < 0 || at+1 >= len(fields) {
			continue
		}
		switch fields[at+1] {
		case chain:
			return ends, true
		case "DROP", "REJECT":
			ends = append(ends, r)
		}
	}
	return ends, false
}
