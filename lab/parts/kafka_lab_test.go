//go:build lab

package parts_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

func kafkaClient(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestKafkaKeepsWhatItAcknowledgedThroughAKill(t *testing.T) {
	k := alone.New(t, "kafka")
	k.Start()
	address := kgo.SeedBrokers(parts.KafkaAddress(k.Site))
	c := kafkaClient(t, address, kgo.DefaultProduceTopic("a"))
	if _, err := kadm.NewClient(c).CreateTopic(bounded(t), 1, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(bounded(t), kgo.StringRecord("before")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	k.Kill()
	began := time.Now()
	k.Start()
	t.Logf("usable again %.1f s after the start on the data of a killed one", time.Since(began).Seconds())
	if err := c.ProduceSync(bounded(t), kgo.StringRecord("after")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	reader := kafkaClient(t, address, kgo.ConsumeTopics("a"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for ctx := bounded(t); len(got) < 2; {
		fetched := reader.PollFetches(ctx)
		if err := fetched.Err0(); err != nil {
			t.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if got[0] != "before" || got[1] != "after" || len(got) != 2 {
		t.Errorf("read %q, want before, after", got)
	}
}

func TestKafkaAsksForThePassword(t *testing.T) {
	k := alone.New(t, "kafka")
	k.Start()
	ask := func(password string) error {
		user := scram.Auth{User: parts.KafkaUser, Pass: password}
		c := kafkaClient(t, kgo.SeedBrokers(parts.KafkaSASLAddress(k.Site)), kgo.SASL(user.AsSha512Mechanism()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return c.Ping(ctx)
	}
	if err := ask(parts.KafkaPassword); err != nil {
		t.Errorf("the right password: %v", err)
	}
	if err := ask("wrong"); err == nil {
		t.Error("a wrong password was accepted")
	} else {
		t.Logf("a wrong password: %v", err)
	}
}
