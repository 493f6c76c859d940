package parts

import (
	"context"
	_ "embed" // pom.xml
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed kafka/pom.xml
var kafkaPom string

const (
	kafkaPort     = "9092"
	kafkaRaftPort = "9093"
	kafkaSASLPort = "9094"
	// kafkaCluster is any 22 characters of base64url; a fixed one lets a format be repeated.
	kafkaCluster = "Um9sbGluZ0xhYkthZmthMQ"
	// kafkaAsk bounds one question to a broker that starts: it may take a connection and never answer it.
	kafkaAsk = 2 * time.Second
)

// KafkaUser and KafkaPassword are the one user that the listener with passwords knows.
const (
	KafkaUser     = "rolling"
	KafkaPassword = "lab-kafka-password"
)

// kafka is one broker that is its own controller.
func kafka() Part {
	return Part{
		Name:     "kafka",
		Does:     "Kafka on port " + kafkaPort + " of the router, and with passwords (SCRAM-SHA-512) on port " + kafkaSASLPort,
		Packages: []string{"default-jre-headless", "maven"},
		Within:   60 * time.Second,
		Prepare:  prepareKafka,
		Ready:    kafkaAnswers,
	}
}

// KafkaAddress is where clients connect without a password.
func KafkaAddress(s Site) string { return s.Router.String() + ":" + kafkaPort }

// KafkaSASLAddress is where KafkaUser connects, without TLS.
func KafkaSASLAddress(s Site) string { return s.Router.String() + ":" + kafkaSASLPort }

func prepareKafka(ctx context.Context, s Site) (Program, error) {
	libraries, err := jars(ctx, s.Cache, "kafka", kafkaPom)
	if err != nil {
		return Program{}, err
	}
	config, logging := filepath.Join(s.Folder, "server.properties"), filepath.Join(s.Folder, "log4j2.properties")
	for file, text := range map[string]string{config: kafkaConfig(s), logging: kafkaLogging} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return Program{}, fmt.Errorf("kafka: %w", err)
		}
	}
	java := []string{"-Dlog4j2.configurationFile=" + logging, "-cp", libraries + "/*"}
	if err := formatKafka(ctx, s, java, config); err != nil {
		return Program{}, err
	}
	heap := []string{"-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"}
	return Program{Path: "java", Args: append(append(heap, java...), "kafka.Kafka", config)}, nil
}

// formatKafka lays out the storage once. It does so beside the place and moves it there, so that a broken format is
// not taken for a finished one.
func formatKafka(ctx context.Context, s Site, java []string, config string) error {
	data := filepath.Join(s.Folder, "data")
	if _, err := os.Stat(filepath.Join(data, "meta.properties")); err == nil {
		return nil
	}
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	args := append(append([]string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, java...), "kafka.tools.StorageTool", "format",
		"--ignore-formatted", "-t", kafkaCluster, "-c", config,
		"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", KafkaUser, KafkaPassword))
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		_ = os.RemoveAll(data)
		return fmt.Errorf("kafka: format the storage: %w: %s", err, out)
	}
	return nil
}

// kafkaConfig: topics are made by who needs them, so that a missing one shows; one partition for each topic of the
// broker's own keeps a start short, and so do the short sessions after a crash.
func kafkaConfig(s Site) string {
	listeners := fmt.Sprintf("PLAINTEXT://%[1]s:%[2]s,SASL_PLAINTEXT://%[1]s:%[3]s", s.Router, kafkaPort, kafkaSASLPort)
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[1]s:%[2]s
listeners=%[3]s,CONTROLLER://%[1]s:%[2]s
advertised.listeners=%[3]s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=%[4]s/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=2
background.threads=2
log.segment.bytes=268435456
log.retention.bytes=2147483648
`, s.Router, kafkaRaftPort, listeners, s.Folder)
}

const kafkaLogging = `status = error
appenders = console
appender.console.type = Console
appender.console.name = STDOUT
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = STDOUT
`

// kafkaAnswers: the port answers before the broker serves, and the broker before its controller has let it in.
func kafkaAnswers(ctx context.Context, s Site) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaAsk)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(KafkaAddress(s)), kgo.Dialer(s.Dial))
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer c.Close()
	got, err := kadm.NewClient(c).BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	if len(got.Brokers) != 1 || got.Controller < 0 {
		return errors.New("kafka: its controller has not let it in yet")
	}
	return nil
}
