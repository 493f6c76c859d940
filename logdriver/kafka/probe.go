package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const probeWithin = 4 * time.Second

// probe asks each broker of the settings once. franz-go itself retries a wrong password for ever and says nothing.
func (c *Client) probe(ctx context.Context) {
	seeds := c.kgo.SeedBrokers()
	faults := make([]error, len(seeds))
	var all sync.WaitGroup
	for i, b := range seeds {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeWithin)
			defer cancel()
			ask := kmsg.NewPtrMetadataRequest()
			ask.Topics = []kmsg.MetadataRequestTopic{}
			if _, err := b.Request(ctx, ask); err != nil {
				faults[i] = c.explain(err)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return
	}
	var fault error
	if !slices.Contains(faults, nil) {
		fault = fmt.Errorf("%s: %w", strings.Join(c.set.Brokers, ","), worst(faults))
	}
	c.mu.Lock()
	was, first := c.fault, !c.asked
	c.fault, c.asked = fault, true
	c.mu.Unlock()
	switch {
	case fault != nil && (was == nil || was.Error() != fault.Error()):
		c.log.Error("no broker takes lines; they stay in the spool", "brokers", strings.Join(c.set.Brokers, ","), "cause", fault)
	case fault == nil && (was != nil || first):
		c.log.Info("brokers answer", "brokers", strings.Join(c.set.Brokers, ","))
		c.notify() // lanes that wait need not wait longer
	}
}

// refusal is a broker that is there and does not want us: worse than one that is away, since it does not pass by itself.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func worst(faults []error) error {
	for _, f := range faults {
		var r refusal
		if errors.As(f, &r) {
			return f
		}
	}
	return faults[0]
}

func (c *Client) explain(err error) error {
	var authority x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed), strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED"):
		return refusal{fmt.Errorf("refuses the user %q or its password (%s): put the right one into %s: %w", c.set.User, c.set.Mechanism, c.set.PasswordFile, err)}
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return refusal{fmt.Errorf("does not know the mechanism %s: set ROLLING_KAFKA_SASL to one that it knows: %w", c.set.Mechanism, err)}
	case errors.As(err, &authority), errors.As(err, &verification):
		return refusal{fmt.Errorf("shows a certificate that is not trusted: set ROLLING_KAFKA_CA_FILE: %w", err)}
	case errors.As(err, &record):
		return refusal{fmt.Errorf("speaks no TLS on this port: set ROLLING_KAFKA_TLS to false, or name another port: %w", err)}
	case errors.As(err, &dns):
		return fmt.Errorf("its name is not known: %w", err)
	case errors.Is(err, io.EOF) && !c.set.TLS && c.set.Mechanism == "":
		return refusal{fmt.Errorf("closes the connection: it may want TLS or a password: %w", err)}
	case errors.Is(err, io.EOF) && c.set.Mechanism != "":
		return refusal{fmt.Errorf("closes the connection: it may refuse the user %q or its password (%s, in %s), or want TLS: %w", c.set.User, c.set.Mechanism, c.set.PasswordFile, err)}
	case errors.Is(err, io.EOF):
		return fmt.Errorf("closes the connection: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("gives no answer within %s", probeWithin)
	}
	return err
}

// OnBrokerConnect is told of each connection, to brokers too that only Kafka itself names.
func (c *Client) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	host := fmt.Sprintf("%s:%d", meta.Host, meta.Port)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.hosts, host)
	} else if !errors.Is(err, context.Canceled) {
		c.hosts[host] = hostFault{c.explain(err), time.Now()}
	}
}

// OnBrokerDisconnect is told of each connection that ended.
func (c *Client) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	select {
	case c.doubt <- struct{}{}:
	default:
	}
}

// recent: a broker that was not dialled again for so long is no trouble any more.
const recent = time.Minute

// Fault says why lines do not get through, or nil.
func (c *Client) Fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return c.fault
	}
	if !c.asked {
		return errors.New("the brokers have not been asked yet")
	}
	for host, f := range c.hosts {
		if time.Since(f.when) < recent {
			return fmt.Errorf("%s: cannot be reached: %w", host, f.err)
		}
	}
	return nil
}
