package contract

// PluginLog is the log driver's alias.
const PluginLog = "rolling/log:latest"

// Log options: what `docker run --log-opt` and `logging.options` of a stack file may say. Brokers and passwords are
// settings of the plugin, never options: options show in `docker inspect`.
const (
	LogTopic          = "topic"           // template, default LogTopicDefault
	LogKey            = "key"             // template, default: first 12 characters of the container's ID
	LogFormat         = "format"          // raw or json
	LogOnFull         = "on-full"         // drop-oldest, drop-newest or block
	LogSpoolMax       = "spool-max"       // bytes on disk for this container
	LogMultilineStart = "multiline-start" // regular expression: a line that matches begins a new record
	LogMaxLine        = "max-line"        // bytes: a longer line becomes several records
)

// LogTopicDefault names a container's topic unless LogTopic says otherwise.
const LogTopicDefault = "{{.Project}}.{{.Environment}}.{{.Service}}"

// LogOptions are Rolling's own log options; DockersLogOptions are the engine's, taken in its own sense.
func LogOptions() []string {
	return []string{LogTopic, LogKey, LogFormat, LogOnFull, LogSpoolMax, LogMultilineStart, LogMaxLine}
}

// DockersLogOptions are the options that the engine gives every log driver.
func DockersLogOptions() []string {
	return []string{"labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size",
		"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}
}

// Headers of each record in Kafka. Seq counts per container and stream from 1 without gaps; ts is nanoseconds since
// 1970, decimal. What `labels`, `env` and `tag` name follows with HeaderAttribute in front.
const (
	HeaderProject     = "project"
	HeaderEnvironment = "environment"
	HeaderService     = "service"
	HeaderSlot        = "slot"
	HeaderNode        = "node"
	HeaderStream      = "stream"
	HeaderRelease     = "release"
	HeaderSeq         = "seq"
	HeaderTS          = "ts"
	HeaderAttribute   = "attr."
)

// HeaderMark stands only on records that are not simply one line.
const (
	HeaderMark = "mark"
	// MarkDropped: the value is a sentence that says what is missing: lines HeaderFirst to HeaderSeq of the stream.
	MarkDropped = "dropped"
	// MarkContinued: the line was longer than max-line, and goes on in the stream's next record.
	MarkContinued = "continued"
	// MarkPart: the broker takes no record of this size; HeaderPart says which piece this is, such as 2/3.
	MarkPart = "part"
	// MarkCut: the line's beginning was dropped.
	MarkCut = "cut"

	HeaderFirst = "first"
	HeaderPart  = "part"
)

// NoName stands for a project, environment or service that nothing names.
const NoName = "none"
