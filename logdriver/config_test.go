package main

import (
	"os"
	"strings"
	"testing"
)

func unset(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ROLLING_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDefaultsWork(t *testing.T) {
	unset(t)
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.Socket != "/run/docker/plugins/log.sock" || c.StatusSocket() != "/var/lib/rolling/log/log.sock" || c.PasswordFile != "/var/lib/rolling/log/kafka.password" ||
		len(c.Brokers) != 0 || c.spoolMax != 4<<30 || c.containerMax != 512<<20 || c.keep != 16<<20 || c.buffer != 64<<20 {
		t.Fatalf("got %+v", c)
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	unset(t)
	for k, v := range map[string]string{
		"ROLLING_SOCKET": "log.sock", "ROLLING_PIPES": "pipes", "ROLLING_METRICS_LISTEN": "9325", "ROLLING_SPOOL_MAX": "lots", "ROLLING_KEEP_FOR": "-1s",
		"ROLLING_KAFKA_BROKERS": "kafka:9092,kafka", "ROLLING_KAFKA_SASL": "SCRAM-SHA-521", "ROLLING_KAFKA_COMPRESSION": "best", "ROLLING_KAFKA_LINGER": "1h",
		"ROLLING_KAFKA_PARTITIONS": "0", "ROLLING_KAFKA_REPLICATION": "-2", "ROLLING_KAFKA_CERT_FILE": "tls.pem", "ROLLING_KAFKA_PASSWORD_FILE": "/etc/password",
	} {
		t.Setenv(k, v)
	}
	_, err := readConfig()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"ROLLING_SOCKET: ", "ROLLING_PIPES: ", "ROLLING_METRICS_LISTEN: ", `ROLLING_SPOOL_MAX: "lots" is not a size`, "ROLLING_KEEP_FOR: ", `ROLLING_KAFKA_BROKERS: "kafka": want host:port`,
		`nearest: "SCRAM-SHA-512"`, `ROLLING_KAFKA_COMPRESSION: "best": want none, snappy`, "ROLLING_KAFKA_LINGER: ", "ROLLING_KAFKA_PARTITIONS: 0", "ROLLING_KAFKA_REPLICATION: -2",
		"ROLLING_KAFKA_CERT_FILE: ", `ROLLING_KAFKA_PASSWORD_FILE: "/etc/password": want a file below /var/lib/rolling/log`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
}

func TestAPasswordNeedsAUser(t *testing.T) {
	unset(t)
	t.Setenv("ROLLING_KAFKA_SASL", "PLAIN")
	if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), "ROLLING_KAFKA_USER: is empty") {
		t.Fatalf("got %v", err)
	}
}
