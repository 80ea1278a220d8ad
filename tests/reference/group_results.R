# Reference values for tests/reference/test_group_results.py: residuals and leverage of metafor and lm, standardised
# effects, and average effects on the natural scale.
# Run from this folder: Rscript group_results.R   (writes group_results.json and group_results_versions.json)
#
# Debian has no effectsize and no marginaleffects, so the effects are computed here from their formulas with R's own
# integrate(), and their delta-method errors with central differences instead of analytic derivatives.
suppressMessages({library(metafor); library(jsonlite)})
set.seed(20261202)

n <- 40
people <- data.frame(age = round(runif(n, 18, 70)), diagnosis = sample(c("bipolar", "depression", "healthy"), n, TRUE),
                     stringsAsFactors = FALSE)
people$estimate <- -.5 + .02 * people$age + .5 * (people$diagnosis == "healthy") + rnorm(n, 0, .5)
people$variance <- runif(n, .02, .2)
control <- list(threshold = 1e-13, maxiter = 10000)

slopes <- function(f, at) sapply(seq_along(at), function(j) {
  h <- 1e-4 * max(abs(at[j]), .1)
  up <- at; down <- at; up[j] <- at[j] + h; down[j] <- at[j] - h
  up2 <- at; down2 <- at; up2[j] <- at[j] + 2 * h; down2[j] <- at[j] - 2 * h
  (8 * (f(up) - f(down)) - (f(up2) - f(down2))) / (12 * h)   # five points: exact to h^4
})

one <- function(formula) {
  X <- model.matrix(formula, people); k <- ncol(X); df <- n - k
  fit <- rma(people$estimate, people$variance, mods = X, intercept = FALSE, test = "knha", control = control)
  b <- as.vector(fit$beta); V <- vcov(fit); tau <- sqrt(fit$tau2); se_tau <- fit$se.tau2 / (2 * tau)
  least <- lm(update(formula, estimate ~ .), data = people)

  # standardised effects: Cohen's d and Hedges' g by the residual sd, beta weights by the total one, partial r
  residual_sd <- function(p) p[1:k] / p[k + 1]
  scale <- ifelse(colnames(X) == "age", sd(people$age), 1)
  total <- function(p) scale * p[1:k] / sqrt(p[k + 1]^2 + drop(t(p[1:k]) %*% cov(X) %*% p[1:k]))
  everything <- rbind(cbind(V, 0), c(rep(0, k), se_tau^2))
  at <- c(b, tau)
  errors <- function(f) sapply(seq_len(k), function(j) { g <- slopes(function(p) f(p)[j], at); sqrt(drop(t(g) %*% everything %*% g)) })
  J <- gamma(df / 2) / (sqrt(df / 2) * gamma((df - 1) / 2))
  t_value <- b / sqrt(diag(V)); r <- t_value / sqrt(t_value^2 + df)
  z <- atanh(r); half <- qnorm(.975) / sqrt(df - 1)
  d <- residual_sd(at); d_error <- errors(residual_sd); w <- total(at); w_error <- errors(total)

  # average effects with a logit link, over participants' covariates and a normal deviation
  over_people <- function(value) mean(sapply(seq_len(n), value))
  expected <- function(f, sd) integrate(function(u) f(u) * dnorm(u, 0, sd), -8 * sd, 8 * sd, rel.tol = 1e-11)$value
  slope_age <- function(p) p[which(colnames(X) == "age")] *
    over_people(function(i) expected(function(u) dlogis(sum(X[i, ] * p[1:k]) + u), p[k + 1]))
  level <- function(name) { altered <- people; altered$diagnosis <- factor(name, levels = sort(unique(people$diagnosis)));
                            model.matrix(formula, altered) }
  healthy <- level("healthy"); bipolar <- level("bipolar")
  difference <- function(p) over_people(function(i)
    expected(function(u) plogis(sum(healthy[i, ] * p[1:k]) + u) - plogis(sum(bipolar[i, ] * p[1:k]) + u), p[k + 1]))
  natural <- lapply(list(slope_age, difference), function(f) {
    g <- slopes(f, at); c(f(at), sqrt(drop(t(g) %*% everything %*% g))) })

  list(formula = paste(deparse(formula), collapse = ""), terms = I(colnames(X)), df = df,
       meta = list(fitted = I(as.vector(fitted(fit))), se_fit = I(predict(fit)$se), hat = I(as.vector(hatvalues(fit))),
                   std_residual = I(as.vector(rstandard(fit)$z))),
       ols = list(hat = I(unname(hatvalues(least))), std_residual = I(unname(rstandard(least))),
                  cooks_distance = I(unname(cooks.distance(least)))),
       residual = list(estimate = I(d), error = I(d_error)), hedges = list(factor = J, estimate = I(J * d), error = I(J * d_error)),
       total = list(estimate = I(w), error = I(w_error)),
       partial_r = list(estimate = I(r), error = I((1 - r^2) / sqrt(df - 1)), low = I(tanh(z - half)), high = I(tanh(z + half))),
       slope_age = I(natural[[1]]), healthy_minus_bipolar = I(natural[[2]]))
}

write_json(list(people = people, models = list(one(~ diagnosis + age))), "group_results.json", digits = NA, auto_unbox = TRUE)
versions <- c(R = R.version.string, sapply(c("metafor", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "group_results_versions.json", auto_unbox = TRUE, pretty = TRUE)
