# Run the README's R example as it stands, with the installed package: Rscript tests/readme.R
lines <- readLines("README.md")
start <- which(lines == "```r")
stopifnot(length(start) == 1)
end <- start + which(lines[-seq_len(start)] == "```")[1]
example <- parse(text = lines[(start + 1):(end - 1)])
grDevices::pdf(NULL)
results <- lapply(example, function(call) print(eval(call, globalenv())))
effect <- subset(tidy(grp, conf.int = TRUE), component == "x_learning_rate_reward" & term == "diagnosispatient")
# the example's patients were simulated with a lower learning rate
stopifnot(nrow(effect) == 1, effect$conf.high < 0)
cat("README's R example: passed\n")
