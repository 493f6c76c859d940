package bgp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"
)

// asHerd makes this test binary a process of many clients, which leaves the reflector's to itself.
const asHerd = "ROLLING_BGP_TEST_HERD"

func TestMain(m *testing.M) {
	text := os.Getenv(asHerd)
	if text == "" {
		os.Exit(m.Run())
	}
	var h herd
	err := json.Unmarshal([]byte(text), &h)
	if err == nil {
		err = h.run(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

// herd is clients of one reflector.
type herd struct {
	Reflector     netip.Addr
	Port          int
	Clients, Each int // routes of each
}

func (h herd) String() string {
	text, err := json.Marshal(h)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (h herd) nodes() (all []netip.Addr) {
	for i := range h.Clients {
		all = append(all, netip.AddrFrom4([4]byte{127, 0, 78, byte(i + 1)}))
	}
	return all
}

// run opens all sessions, says so, has all clients announce when its input ends, and says when all but one of two hundred
// routes are everywhere, when all are, and when the first client's are gone.
func (h herd) run(in io.Reader, out io.Writer) error {
	var all []*client
	for _, n := range h.nodes() {
		c, err := dialReflector(n, h.Reflector, h.Port)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if _, err := fmt.Fprintln(out, "open"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	for i, c := range all {
		var own []netip.Addr
		for k := range h.Each {
			n := i*h.Each + k
			own = append(own, netip.AddrFrom4([4]byte{10, 201, byte(n / 250), byte(n%250) + 1}))
		}
		go c.live(own) //nolint:errcheck // ends with the process; what is missing shows
	}
	want := h.Each * (h.Clients - 1)
	for _, step := range []struct {
		word  string
		among []*client
		done  func(holds int) bool
	}{
		{"most", all, func(n int) bool { return want-n <= want/200 }},
		{"all", all, func(n int) bool { return n == want }},
		{"withdrawn", all[1:], func(n int) bool { return n == want-h.Each }},
	} {
		if err := until(step.among, step.done); err != nil {
			return fmt.Errorf("%s: %w", step.word, err)
		}
		if _, err := fmt.Fprintln(out, step.word); err != nil {
			return err
		}
	}
	return nil
}

func until(among []*client, done func(holds int) bool) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		left := 0
		for _, c := range among {
			if !done(c.holds()) {
				left++
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("not within two minutes")
}
