module github.com/oncehq/once/with/onceecho

go 1.26.0

require (
	github.com/labstack/echo/v5 v5.4.5
	github.com/oncehq/once v0.0.0
)
