package wire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/line/pki"
)

func TestStrangersGetNoLine(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g, other := generation(t, now), generation(t, now)
	s, address := board(t, g.Manager)
	identity := func(secret []byte) wire.Identity {
		i, err := wire.ParseIdentity(secret)
		must(t, err)
		return i
	}
	ours := identity(g.Agent).Dial()
	for _, c := range []struct {
		name   string
		config *tls.Config
	}{
		{"without a certificate", &tls.Config{RootCAs: ours.RootCAs, ServerName: wire.ManagerName, NextProtos: ours.NextProtos}},
		{"with a certificate of another CA", &tls.Config{InsecureSkipVerify: true, Certificates: identity(other.Agent).Dial().Certificates, NextProtos: ours.NextProtos}},
		{"with the manager's certificate", &tls.Config{RootCAs: ours.RootCAs, ServerName: wire.ManagerName, Certificates: identity(g.Manager).Dial().Certificates, NextProtos: ours.NextProtos}},
		{"with TLS 1.2", &tls.Config{RootCAs: ours.RootCAs, ServerName: wire.ManagerName, Certificates: ours.Certificates, NextProtos: ours.NextProtos, MaxVersion: tls.VersionTLS12}},
		{"with another protocol", &tls.Config{RootCAs: ours.RootCAs, ServerName: wire.ManagerName, Certificates: ours.Certificates, NextProtos: []string{"h2"}}},
		{"with no protocol", &tls.Config{RootCAs: ours.RootCAs, ServerName: wire.ManagerName, Certificates: ours.Certificates}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := s.Refused()
			conn, err := tls.Dial("tcp", address, c.config)
			if err == nil { // in TLS 1.3 a client learns of its refusal when it reads
				defer conn.Close()
				must(t, conn.SetReadDeadline(time.Now().Add(within)))
				if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("it was let in: %d, %v", n, err)
				}
			}
			eventually(t, "a refusal", func() bool { return s.Refused() > refused })
		})
	}
	t.Run("in plain text", func(t *testing.T) {
		refused := s.Refused()
		conn, err := net.Dial("tcp", address)
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /v1/lines HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(within)))
		if text, _ := io.ReadAll(conn); bytes.Contains(text, []byte("HTTP")) {
			t.Errorf("answered %q", text)
		}
		eventually(t, "a refusal", func() bool { return s.Refused() > refused })
	})
	t.Run("that say nothing", func(t *testing.T) {
		refused := s.Refused()
		conn, err := net.Dial("tcp", address)
		must(t, err)
		defer conn.Close()
		eventually(t, "a refusal", func() bool { return s.Refused() > refused })
	})
	if ids(s) != "" {
		t.Errorf("there are lines: %s", ids(s))
	}
}

func TestAnAgentRefusesWhoIsNotTheManager(t *testing.T) {
	now := time.Now()
	g, other := generation(t, now), generation(t, now)
	old, early := generation(t, now.Add(-pki.Lifetime-time.Hour)), generation(t, now.Add(48*time.Hour))
	identity := func(secret []byte) *tls.Config {
		i, err := wire.ParseIdentity(secret)
		must(t, err)
		c := i.Listen()
		c.ClientAuth, c.VerifyConnection = tls.RequestClientCert, nil // it takes anybody
		return c
	}
	for _, c := range []struct {
		name   string
		server *tls.Config
		agent  []byte
		want   string
	}{
		{"of another CA", identity(other.Manager), g.Agent, "unknown authority"},
		{"that is another agent", identity(g.Agent), g.Agent, "certificate"},
		{"whose certificate has ended", identity(old.Manager), old.Agent, "expired"},
		{"whose certificate has not begun", identity(early.Manager), early.Agent, "expired or is not yet valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			listener, err := tls.Listen("tcp", "127.0.0.1:0", c.server)
			must(t, err)
			defer listener.Close()
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			l, _ := dial(t, c.agent, host{id: "n"}, listener.Addr().String())
			eventually(t, "a problem", func() bool { return l.State().Problem != "" })
			if p := l.State().Problem; !strings.Contains(p, c.want) || l.State().Connected {
				t.Errorf("problem %q, want %q", p, c.want)
			}
		})
	}
}

func TestAnAgentWhoseCertificateHasEndedGetsNoLine(t *testing.T) {
	old := generation(t, time.Now().Add(-pki.Lifetime-time.Hour))
	s, address := board(t, old.Manager)
	i, err := wire.ParseIdentity(old.Agent)
	must(t, err)
	c := i.Dial()
	c.InsecureSkipVerify, c.VerifyConnection = true, nil
	conn, err := tls.Dial("tcp", address, c)
	if err == nil {
		defer conn.Close()
	}
	eventually(t, "a refusal", func() bool { return s.Refused() > 0 })
	if !i.Ends().Before(time.Now()) {
		t.Errorf("it ends %s", i.Ends())
	}
}

// TestAnAgentThatIsNoAgent: a peer with the right certificate and wrong manners.
func TestAnAgentThatIsNoAgent(t *testing.T) {
	t.Parallel()
	g := generation(t, time.Now())
	s, address := board(t, g.Manager)
	i, err := wire.ParseIdentity(g.Agent)
	must(t, err)
	connect := func(t *testing.T) *yamux.Session {
		conn, err := tls.Dial("tcp", address, i.Dial())
		must(t, err)
		c := yamux.DefaultConfig()
		c.LogOutput = io.Discard
		session, err := yamux.Server(conn, c)
		must(t, err)
		t.Cleanup(func() { _ = session.Close() })
		return session
	}
	answer := func(session *yamux.Session, text string) {
		go func() {
			_ = http.Serve(session, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		}()
	}
	for _, c := range []struct{ name, hello string }{
		{"that has no name", `{}`},
		{"whose name is none", `{"nodeId":"a b","hostname":"x\ny"}`},
		{"whose name is too long", `{"nodeId":"` + strings.Repeat("a", 65) + `","hostname":"x"}`},
		{"that answers with something else", `<html>`},
		{"that answers for ever", `{"nodeId":"` + strings.Repeat("a", wire.MaxAnswer) + `"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := s.Refused()
			answer(connect(t), c.hello)
			eventually(t, "a refusal", func() bool { return s.Refused() > refused })
		})
	}
	t.Run("that is older than a question", func(t *testing.T) {
		for _, says := range []struct {
			name   string
			answer http.HandlerFunc
		}{
			{"one of the first releases", http.NotFound},
			{"a later one", func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "agent v1 knows no question", http.StatusNotImplemented)
			}},
		} {
			session := connect(t)
			mux := http.NewServeMux()
			mux.HandleFunc(wire.PathHello, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"nodeId":"old","hostname":"h"}`)
			})
			mux.HandleFunc("/", says.answer)
			go func() { _ = http.Serve(session, mux) }()
			eventually(t, "a line", func() bool { return ids(s) == "old" })
			if _, err := s.Samples(t.Context(), "old", []string{"task00000001"}); !errors.Is(err, wire.ErrOlder) || errors.Is(err, wire.ErrUnknown) {
				t.Errorf("samples of %s: %v", says.name, err)
			}
			if _, err := s.Checks(t.Context(), "old", "", "abcdefabcdef"); !errors.Is(err, wire.ErrOlder) {
				t.Errorf("checks of %s: %v", says.name, err)
			}
			_ = session.Close()
			eventually(t, "its end", func() bool { return ids(s) == "" })
		}
	})
	t.Run("that asks the manager", func(t *testing.T) {
		session := connect(t)
		answer(session, `{"nodeId":"n","hostname":"h"}`)
		eventually(t, "a line", func() bool { return ids(s) == "n" })
		_, _ = session.OpenStream()
		eventually(t, "its end", func() bool { return session.IsClosed() && ids(s) == "" })
	})
}
