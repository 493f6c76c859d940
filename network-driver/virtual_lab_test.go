//go:build lab

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

const virtual = "10.210.99.9"

// boxed is a container whose namespace the plugin finds, as it finds the engine's.
func (r *rig) boxed(n int) lan.Space {
	r.t.Helper()
	box := lan.New(r.t, fmt.Sprintf("c%d", n))
	if err := os.Symlink(namespace.Path(box.Name), filepath.Join(r.folder, "boxes", box.Name)); err != nil {
		r.t.Fatal(err)
	}
	r.plug(endpointID(n), net1, containerAddress(n), box, 0)
	return box
}

// hello accepts on port 80, and says who called.
func hello(t *testing.T, s lan.Space) {
	t.Helper()
	s.Do(func() error {
		l, err := net.Listen("tcp4", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
				c.Close()
			}
		}()
		return nil
	})
}

// heard is whom the server at the address saw.
func heard(s lan.Space, address string) (text string, err error) {
	s.Do(func() error {
		c, dialled := net.DialTimeout("tcp4", address+":80", 5*time.Second)
		if err = dialled; err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 100)
		n, _ := c.Read(b)
		text = string(b[:n])
		return nil
	})
	return text, err
}

func TestAVirtualAddressIsCarriedByTheFastPathAndAnnouncedByItsBackendsNode(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"bpf", "nft", "off"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := layFabric(t, 1, 1, "ROLLING_FASTPATH="+path)
			var boxes []lan.Space
			for i, r := range f.nodes {
				dockersChains(r.space)
				folder := filepath.Join(r.folder, "boxes")
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				r.extra = append(r.extra, "ROLLING_SANDBOXES="+folder)
				r.engine.serve(net1, fmt.Sprintf(`{"web":{"VIP":%q,"Tasks":[{"EndpointID":%q,"EndpointIP":%q}]}}`, virtual, endpointID(2), containerAddress(2)))
				r.start()
				r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
				boxes = append(boxes, r.boxed(i+1))
			}
			f.fine(boxes, path != "off")
		})
	}
}

// fine: container 1 is a client, and container 2, on the other node, serves.
func (f *mesh) fine(boxes []lan.Space, fast bool) {
	f.t.Helper()
	hello(f.t, boxes[1])
	lan.Eventually(f.t, 20*time.Second, "the other node routes the virtual address to the backend's", func() error {
		if got, want := roads(f.nodes[0].space), virtual+" via "+nodeAddress(2); !strings.Contains(got, want) {
			return fmt.Errorf("it has %q, want %q", got, want)
		}
		_, err := heard(boxes[0], virtual)
		return err
	})
	first, second := f.nodes[0].forwarded(), f.nodes[1].forwarded()
	for range 10 {
		if saw, err := heard(boxes[0], virtual); err != nil || saw != containerAddress(1) {
			f.t.Errorf("the backend saw %q, %v", saw, err)
		}
	}
	if seen := f.nodes[0].forwarded() + f.nodes[1].forwarded() - first - second; fast && seen != 0 || !fast && seen == 0 {
		f.t.Errorf("the firewalls saw %d packets", seen)
	}
	if saw, err := heard(f.nodes[0].space, virtual); err != nil || saw != nodeAddress(1) {
		f.t.Errorf("called by another node the backend saw %q, %v", saw, err)
	}
	if saw, err := heard(boxes[1], virtual); err != nil || saw != containerAddress(2) {
		f.t.Errorf("called by itself the backend saw %q, %v", saw, err)
	}
	if out, err := boxes[0].Try("busybox ping -c 2 -W 5 " + virtual); err != nil {
		f.t.Errorf("it hears no echo: %s", out)
	}
	f.nodes[0].kill()
	if _, err := heard(boxes[0], virtual); err != nil {
		f.t.Errorf("while the plugin is dead: %v", err)
	}
	f.nodes[0].start()
	if _, err := heard(boxes[0], virtual); err != nil {
		f.t.Errorf("after a new start: %v", err)
	}
	f.nodes[0].must("Leave", network.LeaveRequest{NetworkID: net1, EndpointID: endpointID(1)}, nil)
	lan.Eventually(f.t, 10*time.Second, "nothing is left in a namespace whose container left the network", func() error {
		if out := boxes[0].Must("nft list ruleset"); out != "" {
			return fmt.Errorf("there is %s", out)
		}
		return nil
	})
}
