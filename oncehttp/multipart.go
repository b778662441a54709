package oncehttp

import (
	"bytes"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"slices"
)

// appendMultipart appends a multipart body (RFC 2046 section 5.1) to what is digested, part by
// part: clients choose the boundary at random, again for every try. Preamble and epilogue do not
// count, since nobody is meant to read them. ok is false if the body is not what it says.
func appendMultipart(text []byte, contentType string, body []byte) (result []byte, ok bool) {
	media, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || boundary == "" {
		return text, false
	}
	delete(params, "boundary")
	result = appendPart(text, mime.FormatMediaType(media, params))
	result = appendPart(result, "multipart")
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return result, true
		}
		if err != nil {
			return text, false
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return text, false
		}
		for _, name := range slices.Sorted(maps.Keys(part.Header)) {
			for _, value := range part.Header[name] {
				result = appendPart(appendPart(append(result, 'h'), name), value)
			}
		}
		result = appendPart(append(result, 'p'), content)
	}
}
