package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
)

func rsyslogPackages() []string { return []string{"rsyslog", "rsyslog-kafka"} }

// rsyslog is json-file with rsyslog behind it: the leanest of what tails Docker's files into Kafka. It sends the whole
// JSON line, as those do who do not parse it again.
func (b *bench) rsyslog(ctx context.Context, lines, size int) (s spent, err error) {
	c, err := b.kafka()
	if err != nil {
		return s, err
	}
	defer c.Close()
	topic, err := b.makeTopic(ctx, c)
	if err != nil {
		return s, err
	}
	var carrier time.Duration
	s, err = b.measured(ctx, "", func() (id string, err error) {
		if id, err = b.run(ctx, "json-file", writes(lines, size)...); err != nil {
			return id, err
		}
		file, err := b.logFile(ctx, id)
		if err != nil {
			return id, err
		}
		stop, err := b.startRsyslog(ctx, file, topic)
		if err != nil {
			return id, err
		}
		err = b.arrived(ctx, c, topic, lines)
		used, stopped := stop()
		carrier = used
		return id, errors.Join(err, stopped)
	})
	s.carrier = carrier
	return s, err
}

// startRsyslog has it follow a file. stop ends it, and gives the CPU time that it used.
func (b *bench) startRsyslog(ctx context.Context, file, topic string) (stop func() (time.Duration, error), err error) {
	folder, err := os.MkdirTemp("", "rolling-bench-rsyslog-")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "rsyslog.conf")
	broker := parts.KafkaAddress(parts.Site{Router: b.s.Lab.Address(lab.Router)})
	if err := os.WriteFile(config, fmt.Appendf(nil, rsyslogConfig, folder, file, broker, topic), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	cmd := b.s.Lab.Command(ctx, lab.Router, "rsyslogd", "-n", "-f", config, "-i", filepath.Join(folder, "pid"))
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return func() (time.Duration, error) {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return used, os.RemoveAll(folder)
	}, nil
}

// rsyslogConfig: as few threads and as large batches as its manual advises for speed; every line is acknowledged.
const rsyslogConfig = `global(workDirectory="%s" maxMessageSize="32k")
module(load="imfile" mode="inotify")
module(load="omkafka")
template(name="raw" type="string" string="%%msg%%")
input(type="imfile" file="%s" tag="x" ruleset="k" freshStartTail="off" needParse="off")
main_queue(queue.size="100000" queue.workerThreads="1" queue.dequeueBatchSize="2048")
ruleset(name="k" queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="4096" queue.timeoutEnqueue="60000") {
  action(type="omkafka" broker=["%s"] topic="%s" template="raw" partitions.number="1"
    confParam=["compression.codec=snappy","queue.buffering.max.messages=400000","linger.ms=20","enable.idempotence=true"] action.resumeRetryCount="-1")
}
`
