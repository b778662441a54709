module github.com/oncehq/once/cmd/once

go 1.26

require (
	github.com/MicahParks/keyfunc/v3 v3.9.1
	github.com/goccy/go-yaml v1.19.2
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/oncehq/once v0.0.0
	golang.org/x/time v0.15.0
)

require github.com/MicahParks/jwkset v0.11.4 // indirect
