package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// RFC 4271: a hold time is 3 s at least. The longest is the settings'.
	shortestHold = 3 * time.Second
	longestHold  = 90 * time.Second
	// longestName is a file name's (linux/limits.h).
	longestName = 255
)

// ParseRouters reads `addr[:port][@asn][+option]…` words, separated by commas or spaces. Routers without an AS number
// share ours. All problems are named at once.
func ParseRouters(text string, asn uint32) ([]Router, error) {
	var routers []Router
	var problems []error
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\n", r) }) {
		r, err := parseRouter(word, asn)
		if err == nil && slices.ContainsFunc(routers, func(o Router) bool { return o.Address == r.Address }) {
			err = fmt.Errorf("router %q: %s is named twice", word, r.Address)
		}
		problems = append(problems, err)
		routers = append(routers, r)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return routers, nil
}

func parseRouter(word string, asn uint32) (Router, error) {
	words := strings.Split(word, "+")
	plain, err := topology.ParseRouters(words[0], asn)
	if err != nil {
		return Router{}, err
	}
	if len(plain) != 1 {
		return Router{}, fmt.Errorf("router %q: want addr[:port][@asn][+option]", word)
	}
	r := Router{Router: plain[0]}
	var problems []error
	given := map[string]bool{}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		err := r.set(key, value)
		if err == nil && given[key] && key != "community" && key != "from" {
			err = errors.New("is given twice")
		}
		given[key] = true
		if err != nil {
			problems = append(problems, fmt.Errorf("router %q: %s: %w", words[0], w, err))
		}
	}
	if len(r.From) == 0 {
		r.From = []string{fromManagers}
	}
	if !given["routes"] {
		r.Own = slices.Contains(r.From, fromNodes)
	}
	if err := r.agree(asn); err != nil {
		problems = append(problems, fmt.Errorf("router %q: %w", words[0], err))
	}
	return r, errors.Join(problems...)
}

func (r *Router) set(key, value string) (err error) {
	switch key {
	case "bfd":
		r.BFD, err = true, empty(value)
	case "from":
		err = r.setFrom(value)
	case "routes":
		r.Own, err = value == "own", oneOf(value, "all", "own")
	case "password":
		r.Password, err = value, fileName(value)
	case "community":
		var c Community
		c, err = ParseCommunity(value)
		r.Communities = append(r.Communities, c)
	case "hops":
		r.Hops, err = hops(value)
	case "gtsm":
		r.Security, err = 1, nil
		if value != "" {
			r.Security, err = hops(value)
		}
	case "hold":
		r.Hold, err = hold(value)
	case "keep":
		r.Keep, err = keep(value)
	case "restart":
		r.Forgetful, err = value == "off", oneOf(value, "on", "off")
	default:
		err = errors.New("is not an option (bfd, from, routes, password, community, hops, gtsm, hold, keep, restart)")
	}
	return err
}

// setFrom takes a word that names nodes. Which labels there are is not known here.
func (r *Router) setFrom(value string) error {
	key, _, label := strings.Cut(value, "=")
	if value != fromManagers && value != fromNodes && (!label || key == "") {
		if a, err := netip.ParseAddr(value); err != nil || !a.Is4() {
			return errors.New("want managers, nodes, a node's IPv4 address, or an engine label KEY=VALUE")
		}
	}
	r.From = append(r.From, value)
	return nil
}

// agree refuses options that cannot be had together.
func (r *Router) agree(asn uint32) error {
	var problems []error
	if r.Hops > 0 && r.Security > 0 {
		problems = append(problems, errors.New("hops and gtsm say the same thing differently: give one"))
	}
	if r.BFD && (r.Hops > 1 || r.Security > 1) {
		problems = append(problems, errors.New("bfd is for a router on the nodes' own network, one hop away"))
	}
	if r.Keep > 0 && r.Forgetful {
		problems = append(problems, errors.New("keep needs graceful restart, which restart=off turns off"))
	}
	if r.Hops > 0 && r.ASN == asn {
		problems = append(problems, errors.New("hops is for a router of another AS"))
	}
	return errors.Join(problems...)
}

func empty(value string) error {
	if value != "" {
		return errors.New("takes no value")
	}
	return nil
}

func oneOf(value string, known ...string) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("want %s", strings.Join(known, " or "))
	}
	return nil
}

// fileName refuses what would lead out of the folder that it is looked for in.
func fileName(value string) error {
	if value == "" || value[0] == '.' || strings.ContainsAny(value, "/\x00") || len(value) > longestName {
		return errors.New("want the name of a file in the folder passwords of the plugin's state")
	}
	return nil
}

// CheckFileName is the same for a setting that stands alone.
func CheckFileName(value string) error { return fileName(value) }

func hops(value string) (uint8, error) {
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil || n == 0 || n == 255 {
		return 0, errors.New("want 1 to 254 hops")
	}
	return uint8(n), nil
}

func hold(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < shortestHold || d > longestHold || d%time.Second != 0 {
		return 0, fmt.Errorf("want whole seconds from %v to %v", shortestHold, longestHold)
	}
	return d, nil
}

// keep has 24 bits of seconds on the wire (RFC 9494); nobody wants routes that are a week old.
func keep(value string) (time.Duration, error) {
	const longest = 7 * 24 * time.Hour
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Second || d > longest || d%time.Second != 0 {
		return 0, fmt.Errorf("want whole seconds up to %v", longest)
	}
	return d, nil
}

// String is the router as a setting names it.
func (r Router) String() string {
	words := []string{r.Router.String()}
	for _, f := range r.From {
		words = append(words, "from="+f)
	}
	words = append(words, "routes="+map[bool]string{true: "own", false: "all"}[r.Own])
	if r.BFD {
		words = append(words, "bfd")
	}
	if r.Password != "" {
		words = append(words, "password="+r.Password)
	}
	for _, c := range r.Communities {
		words = append(words, "community="+c.String())
	}
	if r.Hops > 0 {
		words = append(words, fmt.Sprintf("hops=%d", r.Hops))
	}
	if r.Security > 0 {
		words = append(words, fmt.Sprintf("gtsm=%d", r.Security))
	}
	if r.Hold > 0 {
		words = append(words, fmt.Sprintf("hold=%v", r.Hold))
	}
	if r.Keep > 0 {
		words = append(words, fmt.Sprintf("keep=%v", r.Keep))
	}
	if r.Forgetful {
		words = append(words, "restart=off")
	}
	return strings.Join(words, "+")
}
