package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const dialWithin = 5 * time.Second

// dial reads the files anew for each connection: a new certificate or password needs no restart of the plugin.
func (c *Client) dial(ctx context.Context, network, host string) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialWithin}
	if !c.set.TLS {
		return d.DialContext(ctx, network, host)
	}
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, network, host)
}

func (c *Client) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.set.CAFile != "" {
		pem, err := os.ReadFile(c.set.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority: %s holds no PEM certificate", c.set.CAFile)
		}
	}
	if c.set.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.set.CertFile, c.set.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (c *Client) mechanism() sasl.Mechanism {
	switch c.set.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := c.password()
			return plain.Auth{User: c.set.User, Pass: password}, err
		})
	case "SCRAM-SHA-256":
		return scram.Sha256(c.scram)
	case "SCRAM-SHA-512":
		return scram.Sha512(c.scram)
	}
	return nil
}

func (c *Client) scram(context.Context) (scram.Auth, error) {
	password, err := c.password()
	return scram.Auth{User: c.set.User, Pass: password}, err
}

func (c *Client) password() (string, error) {
	text, err := os.ReadFile(c.set.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password of %s: %w", c.set.User, err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password of %s: %s is empty", c.set.User, c.set.PasswordFile)
	}
	return password, nil
}
