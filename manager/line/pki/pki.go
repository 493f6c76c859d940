// Package pki makes the line's keys and certificates: a CA, the manager's certificate and the agents'. It knows X.509 and
// the two roles. It knows no file, no secret of Swarm and no clock; it keeps nothing.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Lifetime of a generation. Renewal is a new generation, by hand; the ends warn before.
const Lifetime = 5 * 365 * 24 * time.Hour

// backdated: the nodes' clocks may differ.
const backdated = time.Hour

// A Generation is what the two secrets hold, each in the form of wire.Seal. The CA's key is not in it: it signs two
// certificates and is forgotten, so that nobody can ever take it.
type Generation struct {
	Manager []byte
	Agent   []byte
	Ends    time.Time
}

// Make makes a generation, valid from now on.
func Make(now time.Time, random io.Reader) (Generation, error) {
	g := Generation{Ends: now.Add(Lifetime).UTC().Truncate(time.Second)}
	ca, err := authority(now, g.Ends, random)
	if err != nil {
		return g, fmt.Errorf("make the line's CA: %w", err)
	}
	if g.Manager, err = ca.issue(wire.RoleManager, now, g.Ends, random); err != nil {
		return g, fmt.Errorf("make the manager's certificate: %w", err)
	}
	if g.Agent, err = ca.issue(wire.RoleAgent, now, g.Ends, random); err != nil {
		return g, fmt.Errorf("make the agents' certificate: %w", err)
	}
	return g, nil
}

type ca struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func authority(now, ends time.Time, random io.Reader) (ca, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return ca{}, err
	}
	number, err := serial(random)
	if err != nil {
		return ca{}, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "rolling line"},
		NotBefore: now.Add(-backdated), NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(random, template, template, &key.PublicKey, key)
	if err != nil {
		return ca{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return ca{key, cert}, err
}

func (c ca) issue(role string, now, ends time.Time, random io.Reader) ([]byte, error) {
	uri, err := url.Parse(role)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	number, err := serial(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: role}, URIs: []*url.URL{uri},
		NotBefore: now.Add(-backdated), NotAfter: ends, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if role == wire.RoleManager {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames = []string{wire.ManagerName}
	}
	der, err := x509.CreateCertificate(random, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return wire.Seal(private, der, c.cert.Raw), nil
}

// serial is 127 random bits, as RFC 5280 allows at most 20 bytes and asks for no sign.
func serial(random io.Reader) (*big.Int, error) {
	bytes := make([]byte, 16)
	if _, err := io.ReadFull(random, bytes); err != nil {
		return nil, err
	}
	bytes[0] = bytes[0]&0x7f | 0x40
	return new(big.Int).SetBytes(bytes), nil
}
