package oncegrpc

import (
	"encoding/base64"
	"strings"

	"google.golang.org/grpc/metadata"
)

// Fields of replies are recorded as they are on the wire, where binary values are encoded in base64
// ("Custom-Metadata" in gRPC over HTTP/2), since Connect has no other form of them.

const binary = "-bin"

func toFields(md metadata.MD) map[string][]string {
	if len(md) == 0 {
		return nil
	}
	fields := make(map[string][]string, len(md))
	for name, values := range md {
		if strings.HasSuffix(name, binary) {
			encoded := make([]string, len(values))
			for i, v := range values {
				encoded[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			values = encoded
		}
		fields[name] = values
	}
	return fields
}

// fromFields is the inverse of toFields, and reads what Connect recorded too.
func fromFields(places ...map[string][]string) metadata.MD {
	md := make(metadata.MD)
	for _, fields := range places {
		for name, values := range fields {
			name = strings.ToLower(name)
			for _, v := range values {
				if strings.HasSuffix(name, binary) {
					raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
					if err != nil {
						continue // it could not be sent
					}
					v = string(raw)
				}
				md[name] = append(md[name], v)
			}
		}
	}
	return md
}
