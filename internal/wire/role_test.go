package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// certify makes an identity that TLS itself has nothing against at either end; only its role may be wrong.
func certify(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, roles ...string) Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{ManagerName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, r := range roles {
		uri, err := url.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AddCert(ca)
	return Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, trust}
}

func TestTheRoleIsCheckedBesideTheChain(t *testing.T) {
	root := certify(t, nil, nil)
	ca, key := root.own.Leaf, root.own.PrivateKey.(*ecdsa.PrivateKey)
	trust := x509.NewCertPool()
	trust.AddCert(ca)
	end := func(roles ...string) Identity {
		i := certify(t, ca, key, roles...)
		i.trust = trust
		return i
	}
	for _, c := range []struct {
		name           string
		dials, listens Identity
		agent, manager string // what is wrong with the agent, as the manager says, and the other way round; "" nothing
	}{
		{"both are what they should be", end(RoleAgent), end(RoleManager), "", ""},
		{"the one that dials is a manager", end(RoleManager), end(RoleManager), RoleManager, ""},
		{"the one that dials has no role", end(), end(RoleManager), `for ""`, ""},
		{"the one that dials has two", end(RoleAgent, RoleManager), end(RoleManager), `for ""`, ""},
		{"the one that listens is an agent", end(RoleAgent), end(RoleAgent), "", RoleAgent},
	} {
		t.Run(c.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			listened := make(chan error, 1)
			go func() {
				far, err := listener.Accept()
				if err == nil {
					err = tls.Server(far, c.listens.Listen()).Handshake()
					_ = far.Close()
				}
				listened <- err
			}()
			near, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			dialled := tls.Client(near, c.dials.Dial()).Handshake()
			if got := <-listened; c.agent != "" && (got == nil || !strings.Contains(got.Error(), c.agent)) {
				t.Errorf("the manager says %v, want %q", got, c.agent)
			}
			if c.manager != "" && (dialled == nil || !strings.Contains(dialled.Error(), c.manager)) || c.manager == "" && dialled != nil {
				t.Errorf("the agent says %v, want %q", dialled, c.manager)
			}
		})
	}
}
