package dashboards

// Dashboard is the part of Grafana's dashboard (schema 39, Grafana 10 and newer) that is written here.
type Dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Timezone      string   `json:"timezone"`
	Refresh       string   `json:"refresh"`
	Editable      bool     `json:"editable"`
	Time          Range    `json:"time"`
	Templating    struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`
}

// Range is what is shown at first.
type Range struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Variable is a list to choose from at the dashboard's top.
type Variable struct {
	Name       string  `json:"name"`
	Label      string  `json:"label"`
	Type       string  `json:"type"`
	Datasource *Source `json:"datasource"`
	Query      string  `json:"query"`
	IncludeAll bool    `json:"includeAll"`
	AllValue   string  `json:"allValue"`
	Refresh    int     `json:"refresh"` // 2: whenever the time changes
	Current    Choice  `json:"current"`
}

// Choice is what is chosen at first.
type Choice struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// Source names a datasource.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a graph, or the head of a row.
type Panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Grid        Grid         `json:"gridPos"`
	Datasource  *Source      `json:"datasource,omitempty"`
	FieldConfig *FieldConfig `json:"fieldConfig,omitempty"`
	Targets     []Target     `json:"targets,omitempty"`
}

// Grid is a panel's place; the dashboard is 24 wide.
type Grid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// FieldConfig says how values are drawn.
type FieldConfig struct {
	Defaults  Defaults `json:"defaults"`
	Overrides []string `json:"overrides"`
}

// Defaults are for all lines.
type Defaults struct {
	Unit   string `json:"unit"`
	Min    *int   `json:"min"`
	Custom Custom `json:"custom"`
}

// Custom is the look of a line.
type Custom struct {
	LineWidth   int  `json:"lineWidth"`
	FillOpacity int  `json:"fillOpacity"`
	SpanNulls   bool `json:"spanNulls"`
}

// Target is one query.
type Target struct {
	RefID      string  `json:"refId"`
	Target     string  `json:"target"`
	Datasource *Source `json:"datasource"`
}
