package wire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Identity is what an end of the line shows, and what it trusts: a key, a certificate that bears a role, and the CA's
// certificate, read from one text.
type Identity struct {
	own   tls.Certificate
	trust *x509.CertPool
}

const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// Seal writes the text that ParseIdentity reads: key, certificate, CA, each a PEM block.
func Seal(keyPKCS8, certificate, ca []byte) []byte {
	var text []byte
	for _, b := range []pem.Block{
		{Type: blockKey, Bytes: keyPKCS8}, {Type: blockCertificate, Bytes: certificate}, {Type: blockCertificate, Bytes: ca},
	} {
		text = append(text, pem.EncodeToMemory(&b)...)
	}
	return text
}

// ParseIdentity reads a secret. The error never holds a piece of it.
func ParseIdentity(text []byte) (Identity, error) {
	var keys, certificates [][]byte
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case blockKey:
			keys = append(keys, block.Bytes)
		case blockCertificate:
			certificates = append(certificates, block.Bytes)
		default:
			return Identity{}, fmt.Errorf("a block of type %q: want %s and %s only", block.Type, blockKey, blockCertificate)
		}
	}
	if len(keys) != 1 || len(certificates) != 2 {
		return Identity{}, fmt.Errorf("%d keys and %d certificates: want 1 key, its certificate and the CA's: make it by `rolling line init`", len(keys), len(certificates))
	}
	own, err := tls.X509KeyPair(block(blockCertificate, certificates[0]), block(blockKey, keys[0]))
	if err != nil {
		return Identity{}, fmt.Errorf("key and certificate: %w", err)
	}
	ca, err := x509.ParseCertificate(certificates[1])
	if err != nil {
		return Identity{}, fmt.Errorf("the CA's certificate: %w", err)
	}
	if !ca.IsCA {
		return Identity{}, errors.New("the second certificate is no CA's")
	}
	trust := x509.NewCertPool()
	trust.AddCert(ca)
	return Identity{own, trust}, nil
}

func block(kind string, bytes []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
}

// Ends is when the certificate does. Whoever runs an end should say so in time.
func (i Identity) Ends() time.Time {
	if i.own.Leaf == nil {
		return time.Time{}
	}
	return i.own.Leaf.NotAfter
}

// Role is the one that the certificate bears, "" if none.
func (i Identity) Role() string { return role(i.own.Leaf) }

// Dial is the agent's side. TLS 1.3 only; the peer has to be the manager, by name and by role.
func (i Identity) Dial() *tls.Config {
	c := i.config(RoleManager)
	c.RootCAs, c.ServerName = i.trust, ManagerName
	return c
}

// Listen is the manager's side. The peer has to show a certificate of an agent.
func (i Identity) Listen() *tls.Config {
	c := i.config(RoleAgent)
	c.ClientCAs, c.ClientAuth = i.trust, tls.RequireAndVerifyClientCert
	c.SessionTicketsDisabled = true // a line is dialled seldom, and a resumed session would outlive a certificate
	return c
}

func (i Identity) config(peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol}, Certificates: []tls.Certificate{i.own},
		VerifyConnection: func(s tls.ConnectionState) error { return check(s, peer) },
	}
}

// check runs after TLS has verified the chain.
func check(s tls.ConnectionState, want string) error {
	// A peer that offers no ALPN at all is let through by TLS.
	if s.NegotiatedProtocol != Protocol {
		return fmt.Errorf("the peer does not speak %s", Protocol)
	}
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return errors.New("the peer has shown no certificate")
	}
	if got := role(s.PeerCertificates[0]); got != want {
		return fmt.Errorf("the peer's certificate is for %q: want %s", got, want)
	}
	return nil
}

// role is the certificate's only URI.
func role(c *x509.Certificate) string {
	if c == nil || len(c.URIs) != 1 {
		return ""
	}
	return c.URIs[0].String()
}
