package once

import "encoding/json"

// A Codec turns results of [Do] into bytes and back.
type Codec interface {
	// Type is the media type of what Marshal returns. It is kept with the bytes, and
	// Unmarshal is given only bytes of this type.
	Type() string
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON is the [Codec] by encoding/json.
type JSON struct{}

func (JSON) Type() string                       { return "application/json" }
func (JSON) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (JSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
