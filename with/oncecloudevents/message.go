package oncecloudevents

import (
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/oncehq/once/oncemsg"
)

// Message describes an event. Its key is that of the same event read from a broker's own headers by
// oncemsg.CloudEventID. Headers are the extension attributes, and type, subject, dataschema and
// datacontenttype. Native is the event.
func Message(e event.Event) oncemsg.Message {
	return oncemsg.Message{
		Source: e.Source(), ID: e.ID(), Payload: e.Data(), Time: e.Time(), Native: e,
		Header: func(name string) string { return attribute(e, name) },
	}
}

func attribute(e event.Event, name string) string {
	switch name {
	case "type":
		return e.Type()
	case "subject":
		return e.Subject()
	case "dataschema":
		return e.DataSchema()
	case "datacontenttype":
		return e.DataContentType()
	}
	value, ok := e.Extensions()[name]
	if !ok {
		return ""
	}
	text, err := types.Format(value)
	if err != nil {
		return ""
	}
	return text
}
