# The gateway, built from the root of this repository.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /once ./cmd/once

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /once /once
ENTRYPOINT ["/once"]
