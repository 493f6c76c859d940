package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// client is a BGP speaker of the least kind: it dials, announces once, and counts what it is told.
type client struct {
	self netip.Addr
	conn net.Conn

	mu   sync.Mutex // guards held
	held map[netip.Prefix]bool
}

const testASN = 64512

func dialReflector(self, reflector netip.Addr, port int) (*client, error) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(self, 0)), Timeout: 10 * time.Second}
	c := &client{self: self, held: map[netip.Prefix]bool{}}
	deadline := time.Now().Add(20 * time.Second)
	for c.conn == nil {
		conn, err := dialer.DialContext(context.Background(), "tcp4", netip.AddrPortFrom(reflector, uint16(port)).String())
		if err == nil {
			err = c.open(conn)
		}
		if err == nil {
			c.conn = conn
		} else if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: %w", self, err)
		} else {
			time.Sleep(100 * time.Millisecond)
		}
	}
	return c, nil
}

// open says OPEN and KEEPALIVE, and waits for the other's.
func (c *client) open(conn net.Conn) error {
	open, err := bgp.NewBGPOpenMessage(testASN, 90, c.self, []bgp.OptionParameterInterface{bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{
		bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapFourOctetASNumber(testASN),
		bgp.NewCapGracefulRestart(false, false, 120, []*bgp.CapGracefulRestartTuple{bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, true)}),
	})})
	if err != nil {
		return err
	}
	if err := send(conn, open, bgp.NewBGPKeepAliveMessage()); err != nil {
		return errors.Join(err, conn.Close())
	}
	for range 2 {
		if _, kind, err := receive(conn); err != nil || kind != bgp.BGP_MSG_OPEN && kind != bgp.BGP_MSG_KEEPALIVE {
			return errors.Join(fmt.Errorf("message %d: %w", kind, err), conn.Close())
		}
	}
	return nil
}

func send(conn net.Conn, all ...*bgp.BGPMessage) error {
	for _, m := range all {
		b, err := m.Serialize()
		if err != nil {
			return err
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func receive(conn net.Conn) (body []byte, kind uint8, err error) {
	header := make([]byte, bgp.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, 0, err
	}
	body = make([]byte, int(binary.BigEndian.Uint16(header[16:]))-len(header))
	_, err = io.ReadFull(conn, body)
	return body, header[18], err
}

// tell takes back some routes and announces others.
func (c *client) tell(withdrawn, announced []bgp.PathNLRI) error {
	hop, err := bgp.NewPathAttributeNextHop(c.self)
	if err != nil {
		return err
	}
	var attributes []bgp.PathAttributeInterface
	if len(announced) > 0 {
		attributes = []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0), bgp.NewPathAttributeAsPath(nil), hop, bgp.NewPathAttributeLocalPref(100)}
	}
	return send(c.conn, bgp.NewBGPUpdateMessage(withdrawn, attributes, announced))
}

// live announces the addresses, then takes what comes until the connection ends.
func (c *client) live(own []netip.Addr) error {
	var routes []bgp.PathNLRI
	for _, a := range own {
		n, err := bgp.NewIPAddrPrefix(netip.PrefixFrom(a, 32))
		if err != nil {
			return err
		}
		routes = append(routes, bgp.PathNLRI{NLRI: n})
	}
	const inOne = 500 // of at most 4096 bytes
	for len(routes) > 0 {
		n := min(inOne, len(routes))
		if err := c.tell(nil, routes[:n]); err != nil {
			return err
		}
		routes = routes[n:]
	}
	if err := send(c.conn, bgp.NewEndOfRib(bgp.RF_IPv4_UC)); err != nil {
		return err
	}
	go c.beat()
	for {
		body, kind, err := receive(c.conn)
		if err != nil {
			return err
		}
		if kind == bgp.BGP_MSG_UPDATE {
			if err := c.take(body); err != nil {
				return err
			}
		}
	}
}

func (c *client) beat() {
	for send(c.conn, bgp.NewBGPKeepAliveMessage()) == nil {
		time.Sleep(20 * time.Second)
	}
}

// take reads withdrawn and announced prefixes, and skips the attributes between them.
func (c *client) take(b []byte) error {
	withdrawn := int(binary.BigEndian.Uint16(b))
	attributes := int(binary.BigEndian.Uint16(b[2+withdrawn:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, part := range []struct {
		bytes []byte
		keep  bool
	}{{b[2 : 2+withdrawn], false}, {b[4+withdrawn+attributes:], true}} {
		for p := part.bytes; len(p) > 0; {
			if p[0] != 32 {
				return fmt.Errorf("a prefix of length %d", p[0])
			}
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte(p[1:5])), 32)
			if part.keep {
				c.held[prefix] = true
			} else {
				delete(c.held, prefix)
			}
			p = p[5:]
		}
	}
	return nil
}

func (c *client) holds() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}
